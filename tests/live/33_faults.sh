#!/usr/bin/env bash
# time-limit: 900
# Faults that only a network and a disk of one's own can have, on three real containers. All others, and the long ones:
# ./bootstrap campaign.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

WORK=$(mktemp -d /tmp/pgafrun-faults-test.XXXXXX)
FORMATION=pgaf-faults
# shellcheck source=tests/live/lib/three_nodes.sh
source tests/live/lib/three_nodes.sh
# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh
trap three_nodes_gone EXIT

# As its file expects it, nothing lost, and everything as before.
passes() {
  expect 0 drill "$1" --json "$WORK/result.json"
  says PASSED
  [ "$(field "$WORK/result.json" audit.lost.1)" = nil ] || fail "writes were lost"
  stays_whole "$1"
}

test_refused() {
  expect 3 drill replication-latency
  says "this kernel cannot do it"
}

three_nodes 700
for fault in asymmetric-cut replication-narrow isolated-primary disk-full-primary disk-full-replica; do
  echo "== $fault"
  passes "$fault"
done

echo "== replication-latency"
if unshare -n tc qdisc add dev lo root netem delay 1ms 2>/dev/null; then
  passes replication-latency
else
  untouched test_refused
fi

