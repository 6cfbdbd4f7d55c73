#!/usr/bin/env bash
# The fuzz targets of fuzz/, built as cargo-fuzz would on a stable toolchain
# with `--sanitizer none`, but without cargo-fuzz.
#
#   scripts/fuzz.sh prereqs                  check for a C++ compiler, which
#                                            libFuzzer needs
#   scripts/fuzz.sh run SECONDS [TARGET...]  build, seed the corpus, run each
#                                            target, or those named
#   scripts/fuzz.sh smoke                    run all targets, 15 s each; where there is
#                                            no C++ compiler, say so and go on
#   scripts/fuzz.sh again TARGET FILE        run one input
#
# A failing input stays in fuzz/artifacts/TARGET/, with a description beside it.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

all_targets=(forwarded_header chain template configuration authz)
manifest=fuzz/Cargo.toml

# Where coverage is counted and comparisons are seen: cargo-fuzz's flags.
flags=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  -Cllvm-args=-simplifycfg-branch-fold-threshold=0
  -Ccodegen-units=1
  --cfg fuzzing
)

prereqs() {
  if have c++; then return 0; fi
  if can_apt && apt_install g++ && have c++; then return 0; fi
  say "missing: a C++ compiler (c++): apt-get install g++"
  exit 1
}

# --target keeps the flags away from build scripts and macros.
build() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  bin=fuzz/target/$host/release
  env -u CARGO_ENCODED_RUSTFLAGS RUSTFLAGS="${flags[*]}" \
    cargo build --locked --quiet --release --manifest-path "$manifest" \
    --target "$host" --target-dir fuzz/target --bins --example corpus
}

# Lengths beyond every limit of a request, and the words of each grammar.
options_of() {
  case $1 in
  authz) echo "-max_len=2000" ;;
  chain) echo "-max_len=40000" ;;
  configuration) echo "-max_len=40000 -dict=fuzz/dictionaries/configuration.dict" ;;
  forwarded_header) echo "-max_len=60000 -dict=fuzz/dictionaries/forwarded_header.dict" ;;
  template) echo "-max_len=2000 -dict=fuzz/dictionaries/template.dict" ;;
  *) die "no such fuzz target: $1" ;;
  esac
}

# A failure is described for people, and told in one line.
failed() {
  local target=$1 log=$2 file
  grep -m 1 -A 3 'panicked at' "$log" >&2 || true
  tail -n 20 "$log" >&2
  for file in fuzz/artifacts/"$target"/*-*; do
    case $file in *.txt) continue ;; esac
    [ -e "$file" ] || continue
    [ -e "$file.txt" ] ||
      "$bin/examples/corpus" describe "$target" "$file" >"$file.txt" 2>/dev/null || true
    say "failing input: $file (in words: $file.txt)"
    say "again: scripts/fuzz.sh again $target $file"
  done
  die "fuzz target $target failed"
}

run() {
  local seconds=$1 target log options
  shift
  [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "not a number of seconds: $seconds"
  [ $# -gt 0 ] || set -- "${all_targets[@]}"
  for target in "$@"; do options_of "$target" >/dev/null; done
  build
  "$bin/examples/corpus" seed testdata fuzz/corpus
  for target in "$@"; do
    log=fuzz/target/$target.log
    mkdir -p "fuzz/artifacts/$target"
    read -ra options < <(options_of "$target")
    # A unit of 5 seconds is a find too: a request takes milliseconds.
    if ! "$bin/$target" "fuzz/corpus/$target" "${options[@]}" \
      "-artifact_prefix=fuzz/artifacts/$target/" "-max_total_time=$seconds" \
      -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
      failed "$target" "$log"
    fi
    say "fuzz target $target: $(summary "$log")"
  done
}

# The last line that tells of coverage, and the number of runs.
summary() {
  local coverage runs
  coverage=$(sed -nE 's/.* cov: ([0-9]+) ft: [0-9]+ corp: ([0-9]+).*/\1 branches covered, corpus of \2/p' "$1" | tail -n 1)
  runs=$(sed -nE 's/^stat::number_of_executed_units: *([0-9]+)/\1 runs/p' "$1")
  echo "${runs:-no runs}, ${coverage:-no coverage}"
}

# Tests are for every machine that can build the project, and only fuzzing
# needs C++.
smoke() {
  if (prereqs); then
    run 15
  else
    say "fuzz targets skipped: no C++ compiler"
  fi
}

again() {
  [ $# = 2 ] || die "usage: scripts/fuzz.sh again TARGET FILE"
  options_of "$1" >/dev/null
  build
  "$bin/$1" "$2"
}

command=${1:-}
shift || true
case $command in
prereqs) prereqs ;;
run) run "$@" ;;
smoke) smoke ;;
again) again "$@" ;;
*) die "usage: scripts/fuzz.sh prereqs | run SECONDS [TARGET...] | again TARGET FILE" ;;
esac
