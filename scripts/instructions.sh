#!/usr/bin/env bash
# How many instructions each part of the native pipeline takes, by callgrind: a
# figure that does not depend on what else the machine does.
#
#   scripts/instructions.sh compare  with harness/benches/instructions.txt; more
#                                    than 3 % above it fails
#   scripts/instructions.sh update   write that file
#
# The counts are of one compiler and one C library; the file names the compiler.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kept=harness/benches/instructions.txt
cases=(decode parse judge variables request_warm request_new request_cold request_cold_rustcrypto)
times=100

if ! have valgrind && ! { can_apt && apt_install valgrind && have valgrind; }; then
  die "missing: valgrind: apt-get install valgrind"
fi

say "building"
bench=$(cargo bench --locked -q -p mtls-gate --bench instructions --no-run --message-format json |
  grep '"name":"instructions"' | grep -o '"executable":"[^"]*"' | cut -d '"' -f 4)

# The start of the program is subtracted.
collected() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

measure() {
  local name
  printf '# %s; instructions each\n' "$(rustc --version)"
  for name in "${cases[@]}"; do
    printf '%-26s %9d\n' "$name" $((($(collected "$name" "$times") - $(collected "$name" 0)) / times))
  done
}

case ${1:-} in
update) measure | tee "$kept" ;;
compare)
  measure | awk -v kept="$kept" '
    BEGIN { while ((getline line < kept) > 0) { split(line, part); before[part[1]] = part[2] } }
    /^#/ { print; next }
    {
      change = 100 * ($2 / before[$1] - 1)
      printf "%-26s %9d  %+6.1f %%\n", $1, $2, change
      if (change > 3) worse = 1
    }
    END { exit worse }'
  ;;
*) die "usage: scripts/instructions.sh compare | update" ;;
esac
