#!/usr/bin/env bash
# time-limit: 900
# The drill kills real containers: it passes, twice, and swaps the roles; it refuses what it must refuse without
# touching anything; and whenever it is interrupted or killed the formation is whole again afterwards. Beside it `watch`
# shows all of that on a terminal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

WORK=$(mktemp -d /tmp/pgafrun-drill-test.XXXXXX)
FORMATION=pgaf-drilltest
NODES=(pgaf-drilltest-1 pgaf-drilltest-2)
# shellcheck source=tests/live/lib/inventory.sh
source tests/live/lib/inventory.sh
lab_inventory ""

# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh
# shellcheck source=tests/live/lib/watch.sh
source tests/live/lib/watch.sh

clean() {
  watch_closes
  (pgaf scripts/destroy.lua --yes) >/dev/null 2>&1 </dev/null || echo "the formation could not be removed"
  rm -rf "$WORK"
}
trap clean EXIT

expect 0 scripts/postgres_ha.lua
watch_once
watch_begins
drill_tests

# The lab's storage would freeze each node for its snapshot.
test_snapshot_would_freeze() {
  expect 3 scripts/failover_drill.lua --snapshot
  says "freezes it meanwhile"
}
echo "== snapshot_would_freeze"
untouched test_snapshot_would_freeze
watch_saw_fail_overs
watch_in_hand
