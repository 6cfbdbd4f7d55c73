# shellcheck shell=bash
# Sourced by the other scripts: go to the top of the project, and speak, and
# install Debian packages, in one way.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Packages are installed without asking only where that needs no password.
can_apt() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && have apt-get; }

# Install the named packages. What apt prints goes to a log, shown if it fails.
apt_install() {
  local log=.tools/apt.log
  mkdir -p .tools
  say "installing Debian packages: $*"
  # A fresh machine has no package lists. A failed update alone is no reason
  # to stop: the lists that are there may do.
  if apt_get update >"$log" 2>&1; then :; else say "apt-get update failed; going on"; fi
  # --no-remove: never trade something that is installed for what is needed.
  if apt_get install -y --no-install-recommends --no-remove "$@" >>"$log" 2>&1; then
    return 0
  fi
  tail -n 15 "$log" >&2
  return 1
}

# Asks nothing, and waits while another apt (a machine's first boot) works.
apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" </dev/null
}
