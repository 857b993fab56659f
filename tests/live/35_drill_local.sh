#!/usr/bin/env bash
# time-limit: 900
# The same drill on the provider that needs no containers: run by a user without any rights, on loopback addresses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

TEST_USER=pgafrun-drill
WORK=$(mktemp -d /tmp/pgafrun-dl.XXXXXX)
MONITOR=monitor
NODES=(node-1 node-2)
INVENTORY=$WORK/inventory.lua

remove_user() {
  local tries
  id "$TEST_USER" >/dev/null 2>&1 || return 0
  for ((tries = 0; tries < 50; tries++)); do
    pkill -KILL -u "$TEST_USER" || break
    sleep 0.1
  done
  userdel "$TEST_USER"
}
clean() {
  remove_user
  rm -rf "$WORK" ${SOCKETS:+"$SOCKETS"}
}
trap clean EXIT
remove_user # of a test that was killed
useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$TEST_USER"
SOCKETS=/tmp/pgafrun-$(id -u "$TEST_USER") # of runs that can be attached to

# That user may not be able to read the checkout.
cp "$PGAFRUN" "$WORK/pgafrun"
mkdir -p "$WORK/share/tests/live" "$WORK/state-home" "$WORK/tmp"
cp -r stdlib scripts vendor "$WORK/share/"
cp -r tests/live/lib "$WORK/share/tests/live/"
cat >"$INVENTORY" <<LUA
return {
  environment = "lab",
  formation = "drill-local",
  provider = { kind = "local", root = "$WORK/f" },
  monitor = { name = "$MONITOR", port = 6720, address = "127.0.72.1" },
  nodes = {
    { name = "${NODES[0]}", port = 6721, address = "127.0.72.2" },
    { name = "${NODES[1]}", port = 6722, address = "127.0.72.3" },
  },
  postgres = { source = "distribution", version = 15, wal_keep_size = "64MB" },
  timers = {
    health_check_period = 500, health_check_timeout = 1500, health_check_max_retries = 1,
    health_check_retry_delay = 200, node_considered_unhealthy_timeout = 2500, primary_demote_timeout = 4001,
    network_partition_timeout = 1,
  },
  application = {
    user = "app", database = "appdb", password = "changeme-DEV-ONLY", networks = { "127.0.0.1/32" },
  },
  operator_networks = { "127.0.0.1/32" },
}
LUA
chmod -R go+rX "$WORK"
chown -R "$TEST_USER:" "$WORK/state-home" "$WORK/tmp" "$WORK"

pgaf() {
  local script=$1
  shift
  cd "$WORK/share"
  exec setpriv --reuid "$TEST_USER" --regid "$TEST_USER" --clear-groups -- env -i PATH=/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 HOME="$WORK" TMPDIR="$WORK/tmp" XDG_STATE_HOME="$WORK/state-home" PGAFRUN_PATH="$WORK/share" \
    "$WORK/pgafrun" -i "$INVENTORY" "$script" "$@"
}

# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh

expect 0 scripts/doctor.lua
says "none of its 3 nodes exists yet"
expect 0 scripts/postgres_ha.lua
drill_tests

# Others of the catalogue, each judged by what its own file expects.
for fault in switchover postmaster-kill replica-kill container-freeze; do
  expect 0 scripts/drill.lua "$fault" --report "$WORK/tmp/$fault.html"
  grep -q "<title>PASSED: " "$WORK/tmp/$fault.html"
done
# A client that keeps to its node has none that takes its writes, for longer than somebody allowed.
expect 2 scripts/drill.lua switchover --budget reader=600 --budget pinned=0.01
says "a pinned client writes: not back after"
# What this provider cannot do, and what nobody can, is refused before anything is touched.
expect 3 scripts/drill.lua power-cut
expect 64 scripts/drill.lua switchovr

broken_hypotheses
