# shellcheck shell=bash
# A formation of three data nodes on the lab, each with a disk of its own, and timers that are quick enough to wait for.
# The caller sets WORK, FORMATION and PGAFRUN, and sources drill.sh afterwards.

MONITOR=$FORMATION-monitor
NODES=("$FORMATION-1" "$FORMATION-2" "$FORMATION-3")
INVENTORY=$WORK/inventory.lua
cat >"$INVENTORY" <<LUA
return {
  environment = "lab",
  formation = "$FORMATION",
  provider = { kind = "incus", remote = "lab", image = "debian/12" },
  monitor = { name = "$MONITOR" },
  nodes = { { name = "${NODES[0]}" }, { name = "${NODES[1]}" }, { name = "${NODES[2]}" } },
  postgres = {
    version = 15, source = "distribution", data_dir = "/srv/pgafrun/pg/data", wal_keep_size = "32MB",
    max_slot_wal_keep_size = "128MB", settings = { max_wal_size = "128MB", min_wal_size = "64MB" },
  },
  timers = {
    health_check_period = 500, health_check_timeout = 1500, health_check_max_retries = 1,
    health_check_retry_delay = 200, node_considered_unhealthy_timeout = 4000, primary_demote_timeout = 5000,
    network_partition_timeout = 2,
  },
  application = {
    user = "app", database = "appdb", password = "changeme-DEV-ONLY", networks = { "10.177.64.0/24" },
  },
  operator_networks = { "10.177.64.0/24" },
}
LUA
export XDG_STATE_HOME=$WORK/state-home

# shellcheck source=tests/live/lib/volumes.sh
source tests/live/lib/volumes.sh

pgaf() { exec "$PGAFRUN" -i "$INVENTORY" "$@"; }

# three_nodes MEGABYTES: provisions it.
three_nodes() {
  local node
  expect 0 postgres_ha --tags machines
  for node in "${NODES[@]}"; do volume "$node" "$1"; done
  expect 0 postgres_ha
}

three_nodes_gone() {
  (pgaf destroy --yes) >/dev/null 2>&1 </dev/null || echo "the formation could not be removed"
  volumes_gone
  rm -rf "$WORK"
}
