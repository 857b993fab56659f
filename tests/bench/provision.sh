#!/usr/bin/env bash
# Provisioning three containers from nothing, beside the plain shell script that runs the same commands by parallel
# `incus exec`; then a second run, and the peak memory of the first. Alternates the two, ROUNDS times, and takes medians.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
rounds=${ROUNDS:-3}
pgafrun=${PGAFRUN:-build/pgafrun}
work=$(mktemp -d)
inventory=$work/inventory.lua
sed 's/pgaf-lab/pgaf-bench/g' scripts/inventory/lab.lua >"$inventory"
trap '"$pgafrun" -q -i "$inventory" scripts/destroy.lua --yes >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
timed() { # FILE COMMAND...: appends the seconds it took
  local file=$1 start
  shift
  start=$(date +%s%N)
  "$@" >"$work/output" 2>&1 || { cat "$work/output"; return 1; }
  awk -v n="$(($(date +%s%N) - start))" 'BEGIN { printf "%.3f\n", n / 1e9 }' >>"$file"
}
# Runs the provisioning and leaves its peak memory in $work/memory, in kB.
provision() { /usr/bin/env python3 - "$work/memory" "$pgafrun" -i "$inventory" scripts/postgres_ha.lua <<'PY'
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:], stdin=subprocess.DEVNULL)
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
PY
}

for ((round = 1; round <= rounds; round++)); do
  timed "$work/shell" tests/bench/provision_shell.sh --keep bench-shell
  incus delete --force bench-shell-monitor bench-shell-n1 bench-shell-n2 </dev/null
  timed "$work/pgafrun" provision
  for _ in 1 2 3; do timed "$work/second" "$pgafrun" -i "$inventory" scripts/postgres_ha.lua; done
  "$pgafrun" -q -i "$inventory" scripts/destroy.lua --yes >/dev/null
done

shell=$(median "$work/shell")
ours=$(median "$work/pgafrun")
second=$(median "$work/second")
awk -v a="$ours" -v b="$shell" 'BEGIN { printf "provisioning             %12.1f s       x %.2f of the shell script'"'"'s %.1f s (1.10 asked)\n", a, a / b, b }'
awk -v a="$second" 'BEGIN { printf "a second run             %12.3f s       x %.2f of the 0.5 s allowed\n", a, a / 0.5 }'
awk -v a="$(cat "$work/memory")" 'BEGIN { printf "peak memory, first run   %12.1f MB      x %.2f of the 25 MB allowed\n", a / 1024, a / 1024 / 25 }'
echo "all values: shell $(xargs <"$work/shell"), pgafrun $(xargs <"$work/pgafrun"), second $(xargs <"$work/second")"
