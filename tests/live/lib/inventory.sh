# shellcheck shell=bash
# The inventory of a formation on the lab, with timers that are quick enough to wait for. The caller sets WORK, FORMATION,
# NODES (an array) and PGAFRUN; MONITOR, INVENTORY and `pgaf ARGUMENTS...`, which execs pgafrun with it, are set here.

MONITOR=$FORMATION-monitor
INVENTORY=$WORK/inventory.lua
export XDG_STATE_HOME=$WORK/state-home

pgaf() { exec "$PGAFRUN" -i "$INVENTORY" "$@"; }

# lab_inventory [LUA]: writes it; LUA changes the table `i` before.
lab_inventory() {
  cat >"$INVENTORY" <<LUA
local i = {
  environment = "lab",
  formation = "$FORMATION",
  provider = { kind = "incus", remote = "lab", image = "debian/12" },
  monitor = { name = "$MONITOR" },
  nodes = {
$(printf '    { name = "%s" },\n' "${NODES[@]}")
  },
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
${1:-}
return i
LUA
}
