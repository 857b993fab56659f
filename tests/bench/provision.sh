#!/usr/bin/env bash
# Provisioning three containers from nothing, beside the plain shell script that runs the same commands by parallel
# `incus exec`; the same with the image there; a second run; the peak memory; and where the time went. Alternates them,
# ROUNDS times, and takes medians. Limits are ratios to the shell script, or seconds where nothing is beside them.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
rounds=${ROUNDS:-3}
pgafrun=${PGAFRUN:-build/pgafrun}
prefix=${PREFIX:-pgaf-bench}
work=$(mktemp -d)
inventory=$work/inventory.lua
sed "s/pgaf-lab/$prefix/g" scripts/inventory/lab.lua >"$inventory"
trap '"$pgafrun" -q -i "$inventory" scripts/destroy.lua --yes >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# For a minute after many files were deleted ext4 makes new ones several times slower (it looks at each freed inode
# first), which what was removed before a run would be told as the run's own time.
settled() { sync; sleep 66; }
timed() { # FILE COMMAND...: appends the seconds it took
  local file=$1 start
  shift
  start=$(date +%s%N)
  "$@" >"$work/output" 2>&1 || { cat "$work/output"; return 1; }
  awk -v n="$(($(date +%s%N) - start))" 'BEGIN { printf "%.3f\n", n / 1e9 }' >>"$file"
}
# Runs the provisioning, its events into FILE, and leaves its peak memory in $work/memory, in kB.
provision() { /usr/bin/env python3 - "$1" "$work/memory" "$pgafrun" -i "$inventory" scripts/postgres_ha.lua --json <<'PY'
import resource, subprocess, sys
status = subprocess.call(sys.argv[3:], stdin=subprocess.DEVNULL, stdout=open(sys.argv[1], "w"))
open(sys.argv[2], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
PY
}
# The image that the inventory's nodes come from, if there is one.
forget_image() {
  incus query '/1.0/images?recursion=1' </dev/null | python3 -c '
import json, sys
for image in json.load(sys.stdin):
    if image["properties"].get("user.pgafrun.formation") == sys.argv[1]:
        print(image["fingerprint"])' "$prefix" | while read -r image; do incus image delete "$image" </dev/null; done
}

# An image that another formation baked would be taken: this one's is another, by a pin that changes nothing.
incus launch debian/12 "$prefix-v" </dev/null >/dev/null 2>&1
# shellcheck disable=SC2016 # that is dpkg-query's
version=$(incus exec "$prefix-v" -- dpkg-query -W -f '${Version}' netbase </dev/null)
incus delete -f "$prefix-v" </dev/null
sed -i "s/source = \"distribution\"/&, packages = { netbase = \"$version\" }/" "$inventory"

for ((round = 1; round <= rounds; round++)); do
  settled
  timed "$work/shell" tests/bench/provision_shell.sh --keep "$prefix-shell"
  incus delete --force "$prefix-shell-monitor" "$prefix-shell-n1" "$prefix-shell-n2" </dev/null
  forget_image
  settled
  timed "$work/nothing" provision "$work/nothing.json"
  "$pgafrun" -q -i "$inventory" scripts/destroy.lua --yes >/dev/null
  settled
  timed "$work/image" provision "$work/image.json"
  for _ in 1 2 3; do timed "$work/second" "$pgafrun" -i "$inventory" scripts/postgres_ha.lua; done
  "$pgafrun" -q -i "$inventory" scripts/destroy.lua --yes >/dev/null
done
forget_image

shell=$(median "$work/shell")
nothing=$(median "$work/nothing")
image=$(median "$work/image")
second=$(median "$work/second")
awk -v a="$nothing" -v b="$shell" 'BEGIN { printf "from nothing             %12.1f s       x %.2f of the shell script'"'"'s %.1f s (0.75 asked)\n", a, a / b, b }'
awk -v a="$image" -v b="$shell" 'BEGIN { printf "with the image there     %12.1f s       x %.2f of the 15 s allowed, x %.2f of the shell script\n", a, a / 15, a / b }'
awk -v a="$second" 'BEGIN { printf "a second run             %12.3f s       x %.2f of the 0.3 s allowed\n", a, a / 0.3 }'
awk -v a="$(cat "$work/memory")" 'BEGIN { printf "peak memory, a first run %12.1f MB      x %.2f of the 25 MB allowed\n", a / 1024, a / 1024 / 25 }'
echo "all values: shell $(xargs <"$work/shell"), from nothing $(xargs <"$work/nothing"), with the image $(xargs <"$work/image"), second $(xargs <"$work/second")"
echo "where the last run from nothing spent its time:"
"$pgafrun" tests/bench/provision_parts.lua "$work/nothing.json"
echo "and the one with the image there:"
"$pgafrun" tests/bench/provision_parts.lua "$work/image.json"
