#!/usr/bin/env bash
# time-limit: 900
# The drill kills real containers: it passes, twice, and swaps the roles; it refuses what it must refuse without
# touching anything; and whenever it is interrupted or killed the formation is whole again afterwards. Beside it `watch`
# shows all of that on a terminal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

WORK=$(mktemp -d /tmp/pgafrun-drill-test.XXXXXX)
MONITOR=pgaf-drilltest-monitor
NODES=(pgaf-drilltest-1 pgaf-drilltest-2)
INVENTORY=$WORK/inventory.lua
cat >"$INVENTORY" <<LUA
return {
  environment = "lab",
  formation = "pgaf-drilltest",
  provider = { kind = "incus", remote = "lab", image = "debian/12" },
  monitor = { name = "$MONITOR" },
  nodes = { { name = "${NODES[0]}" }, { name = "${NODES[1]}" } },
  postgres = { version = 15, source = "distribution" },
  timers = {
    health_check_period = 500, health_check_timeout = 1500, health_check_max_retries = 1,
    health_check_retry_delay = 200, node_considered_unhealthy_timeout = 2500, primary_demote_timeout = 4001,
    network_partition_timeout = 1,
  },
  application = {
    user = "app", database = "appdb", password = "changeme-DEV-ONLY", networks = { "10.177.64.0/24" },
  },
  operator_networks = { "10.177.64.0/24" },
}
LUA
export XDG_STATE_HOME=$WORK/state-home

pgaf() { exec "$PGAFRUN" -i "$INVENTORY" "$@"; }

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
