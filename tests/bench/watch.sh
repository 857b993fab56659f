#!/usr/bin/env bash
# What watching costs: time of a core and memory while nothing happens, and how long the screen takes to show what the
# monitor notifies of. On a formation of real containers, made and removed here; with an inventory as argument, on that.
#
#     tests/bench/watch.sh [INVENTORY]
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
PGAFRUN=${PGAFRUN:-$PWD/build/pgafrun}
IDLE_SECONDS=${IDLE_SECONDS:-30} SAMPLES=${SAMPLES:-20}

WORK=$(mktemp -d)
inventory=${1:-}
clean() {
  [ -n "${1:-}" ] || "$PGAFRUN" -q -i "$inventory" destroy --yes >/dev/null 2>&1 || true
  rm -rf "$WORK"
}
trap 'clean "${1:-}"' EXIT
if [ -z "$inventory" ]; then
  inventory=$WORK/inventory.lua
  cat >"$inventory" <<END
local i = dofile("$PWD/scripts/inventory/lab.lua")
i.formation = "pgaf-bench-watch"
i.monitor.name = "pgaf-bench-watch-monitor"
i.nodes[1].name, i.nodes[2].name = "pgaf-bench-watch-1", "pgaf-bench-watch-2"
return i
END
  "$PGAFRUN" -q -i "$inventory" postgres_ha >"$WORK/out" 2>&1 || { cat "$WORK/out"; exit 1; }
fi
PYTHONUNBUFFERED=1 python3 tests/bench/watch.py "$IDLE_SECONDS" "$SAMPLES" "$PGAFRUN" -i "$inventory"
