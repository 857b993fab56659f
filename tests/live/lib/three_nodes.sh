# shellcheck shell=bash
# A formation of three data nodes on the lab, each with a disk of its own, and timers that are quick enough to wait for.
# The caller sets WORK, FORMATION and PGAFRUN, and sources drill.sh afterwards.

NODES=("$FORMATION-1" "$FORMATION-2" "$FORMATION-3")
# shellcheck source=tests/live/lib/inventory.sh
source tests/live/lib/inventory.sh
lab_inventory '
i.postgres.data_dir, i.postgres.wal_keep_size = "/srv/pgafrun/pg/data", "32MB"
i.postgres.max_slot_wal_keep_size = "128MB"
i.postgres.settings = { max_wal_size = "128MB", min_wal_size = "64MB" }
i.timers.node_considered_unhealthy_timeout, i.timers.primary_demote_timeout = 4000, 5000
i.timers.network_partition_timeout = 2'

# shellcheck source=tests/live/lib/volumes.sh
source tests/live/lib/volumes.sh

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
