#!/usr/bin/env bash
# The filter, those it is measured against, and the inspector as WebAssembly.
#
#   scripts/wasm.sh std            see to a standard library for wasm32
#   scripts/wasm.sh build PACKAGE  build mtls-gate-filter, say, into
#                                  target/mtls_gate_filter.wasm
#   scripts/wasm.sh inspector      build the inspector's page into
#                                  target/inspector
#   scripts/wasm.sh lint           clippy as for wasm32, where rustup has its
#                                  library
#
# The standard library for wasm32 comes from one of two places:
#
#   rustup   the toolchain has it, or `rustup target add` fetches it
#   debian   where rustup cannot reach its server: Debian's rustc-web and
#            cargo-web build it from the source in rust-web-src
#
# MTLS_GATE_WASM_STD=rustup or =debian allows only that one.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

target=wasm32-unknown-unknown
page=target/inspector
# How long `rustup target add` may take, in seconds.
limit=${MTLS_GATE_RUSTUP_SECONDS:-60}
# Holds the version of the Rust for which rustup failed and Debian's packages
# served, so that the wait for rustup is not repeated with every build.
note=.tools/wasm-std-debian

# --- from rustup ----------------------------------------------------------

# More than libstd: an install that was cut off may have left only a part.
has_std() {
  local dir crate
  dir=$(rustc --print target-libdir --target "$target" 2>/dev/null) || return 1
  for crate in core alloc compiler_builtins panic_abort std; do
    compgen -G "$dir/lib$crate-*.rlib" >/dev/null || return 1
  done
}

# Only called when has_std says no, so what it removes was of no use.
add_std() {
  local sysroot
  if ! have rustup; then
    say "no rustup here to fetch the standard library for $target"
    return 1
  fi
  say "asking rustup for the standard library for $target (at most $limit s)"
  # --foreground: Ctrl-C reaches rustup.
  if timeout --foreground -k 5 "$limit" rustup target add "$target" </dev/null >&2 && has_std; then
    return 0
  fi
  say "rustup could not fetch it"
  timeout --foreground -k 5 20 rustup target remove "$target" </dev/null >/dev/null 2>&1 || true
  # rustup removes only what it recorded. The file looked for is rustup's own:
  # no other toolchain's directory is touched.
  sysroot=$(rustc --print sysroot)
  if [ -e "$sysroot/lib/rustlib/multirust-channel-manifest.toml" ]; then
    rm -rf -- "$sysroot/lib/rustlib/$target" || true
  fi
  return 1
}

# --- from Debian ----------------------------------------------------------

# rustup's own linker, as new as the compiler, or else a wasm-ld.
find_linker() {
  local lld
  lld=$(rustc --print target-libdir 2>/dev/null || true)/../bin/rust-lld
  if [ -x "$lld" ]; then
    realpath "$lld"
  else
    command -v wasm-ld
  fi
}

list_missing_debian() {
  local name installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ' \
    rustc-web cargo-web rust-web-src 2>/dev/null || true)
  for name in rustc-web cargo-web rust-web-src; do
    case " $installed " in
    *" installed $name "*) ;;
    *) echo "$name" ;;
    esac
  done
  find_linker >/dev/null || echo lld
}

debian_std() {
  local missing
  mapfile -t missing < <(list_missing_debian)
  [ "${#missing[@]}" -gt 0 ] || return 0
  if can_apt && apt_install "${missing[@]}"; then
    mapfile -t missing < <(list_missing_debian)
    [ "${#missing[@]}" -gt 0 ] || return 0
  fi
  say "missing: a standard library for $target:" \
    "rustup target add $target, or on Debian apt-get install ${missing[*]}"
  return 1
}

# --- which one, and the build ---------------------------------------------

# Sets $way to rustup or debian.
choose() {
  local rust
  case ${MTLS_GATE_WASM_STD:-} in
  '' | rustup | debian) ;;
  *) die "MTLS_GATE_WASM_STD is rustup, debian or unset, not '$MTLS_GATE_WASM_STD'" ;;
  esac

  if [ "${MTLS_GATE_WASM_STD:-}" != debian ]; then
    if has_std; then
      say "standard library for $target: rustup's, already there"
      way=rustup
      return 0
    fi
    rust=$(rustc --version 2>/dev/null || true)
    if [ "${MTLS_GATE_WASM_STD:-}" != rustup ] && [ "$rust" = "$(cat "$note" 2>/dev/null)" ]; then
      say "rustup could not fetch it before, see $note"
    elif add_std; then
      say "standard library for $target: rustup's, just fetched"
      way=rustup
      return 0
    elif [ "${MTLS_GATE_WASM_STD:-}" = rustup ]; then
      die "no standard library for $target from rustup, and MTLS_GATE_WASM_STD allows no other"
    fi
  fi

  debian_std || exit 1
  if [ "${MTLS_GATE_WASM_STD:-}" != debian ]; then
    mkdir -p .tools
    printf '%s\n' "$rust" >"$note"
  fi
  say "standard library for $target: built from Debian's rust-web-src"
  way=debian
}

# Debian's cargo, with Debian's rustc, which has to build the standard library.
# RUSTC_BOOTSTRAP: -Zbuild-std is not stable.
debian_cargo() {
  local linker
  linker=$(find_linker)
  env RUSTC_BOOTSTRAP=1 PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker" \
    /usr/bin/cargo -Zbuild-std=std,panic_abort "$@"
}

# The crates that the standard library itself is made of come from the
# registry too; `cargo fetch` alone does not know of them.
std() {
  local way
  choose
  if [ "$way" = debian ]; then
    debian_cargo fetch --locked --target "$target"
  fi
}

# compile PACKAGE PROFILE: sets $built to the directory with the result. Every
# directory is named, so that the result is found whatever the user's settings
# are, and each compiler has its own, so that neither undoes the other's.
compile() {
  local way dir
  # The same bytes wherever it is built, and no word about where.
  local cargo_home=${CARGO_HOME:-$HOME/.cargo}
  local remap="'--remap-path-prefix=$cargo_home=cargo', '--remap-path-prefix=$PWD=mtls-gate'"
  local options=(--locked --profile "$2" --target "$target" -p "$1"
    --config "target.$target.rustflags = [$remap]")
  choose
  if [ "$way" = rustup ]; then
    dir=target
    cargo build "${options[@]}" --target-dir "$dir"
  else
    dir=target/debian-wasm
    debian_cargo build "${options[@]}" --target-dir "$dir"
  fi
  built=$dir/$target/$2
}

# Left alone when equal, and else replaced at once: nobody reads half a file.
install_file() {
  cmp -s "$1" "$2" && return
  cp "$1" "$2.new"
  mv "$2.new" "$2"
}

build() {
  local built package=$1 artifact=${1//-/_}.wasm
  compile "$package" wasm
  install_file "$built/$artifact" "target/$artifact"
  say "$package: target/$artifact ($(wc -c <"target/$artifact") bytes)"
}

# wasm-bindgen's tool is a program of this workspace.
inspector() {
  local built file generated=target/inspector-generated
  local module=$generated/inspector_bg.wasm
  compile mtls-gate-inspector wasm-small
  cargo run --locked -q -p mtls-gate-bindgen -- "$built/mtls_gate_inspector.wasm" "$generated"
  # Not every server compresses, and every browser unpacks.
  gzip -9n <"$module" >"$module.gz"
  mkdir -p "$page"
  for file in crates/inspector/web/* "$generated/inspector.js" "$module.gz"; do
    install_file "$file" "$page/${file##*/}"
  done
  say "inspector: $page ($(cat "$page"/* | wc -c) bytes)"
}

lint() {
  if has_std; then
    cargo clippy --locked -p mtls-gate-filter -p mtls-gate-inspector \
      -p mtls-gate-bench-filters -p mtls-gate-bench-kernels --target "$target" -- -D warnings
  else
    say "clippy for $target skipped: no standard library for it from rustup"
  fi
}

case "$#:${1:-}" in
1:std) std ;;
2:build) build "$2" ;;
1:inspector) inspector ;;
1:lint) lint ;;
*) die "usage: scripts/wasm.sh std | build PACKAGE | inspector | lint" ;;
esac
