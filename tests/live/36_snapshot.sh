#!/usr/bin/env bash
# time-limit: 600
# A drill with snapshots, on a storage pool that makes one within a moment: they go when all is whole again; with --reset
# the nodes go back to them, and what was written meanwhile is gone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

WORK=$(mktemp -d /tmp/pgafrun-snapshot-test.XXXXXX)
POOL=pgaf-snapshot
FORMATION=pgaf-snapshot
NODES=(pgaf-snapshot-1 pgaf-snapshot-2)
# shellcheck source=tests/live/lib/inventory.sh
source tests/live/lib/inventory.sh
lab_inventory "
i.provider.profiles = { '$POOL' }
i.postgres.wal_keep_size, i.postgres.max_slot_wal_keep_size = '32MB', '128MB'"

# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh

clean() {
  (pgaf destroy --yes) >/dev/null 2>&1 </dev/null || echo "the formation could not be removed"
  incus profile delete "lab:$POOL" >/dev/null 2>&1 </dev/null || true
  incus storage delete "lab:$POOL" >/dev/null 2>&1 </dev/null || echo "the pool could not be removed"
  umount "$WORK/pool" || true
  rm -rf "$WORK"
}
trap clean EXIT

truncate -s 8G "$WORK/pool.btrfs"
mkfs.btrfs -q "$WORK/pool.btrfs" >/dev/null
mkdir "$WORK/pool"
mount -o loop "$WORK/pool.btrfs" "$WORK/pool"
incus storage create "lab:$POOL" btrfs source="$WORK/pool" >/dev/null </dev/null
incus profile copy lab:default "lab:$POOL" </dev/null
incus profile device set "lab:$POOL" root pool="$POOL" </dev/null

snapshots() {
  local node
  for node in "$MONITOR" "${NODES[@]}"; do incus snapshot list "lab:$node" -f csv </dev/null; done
}

# sql NODE SQL: in the application's database.
sql() {
  # shellcheck disable=SC2016 # that is for the node's shell
  incus exec "lab:$1" --force-noninteractive -- runuser -u postgres -- \
    sh -c 'cd / && set -a && . /etc/pgafrun/environment && exec psql -XAtq -d appdb -c "$1"' - "$2" </dev/null
}

expect 0 postgres_ha
sql "$(primary)" "create table kept (word text); insert into kept values ('before')"

echo "== snapshot"
expect 0 drill container-kill --snapshot
says PASSED
[ -z "$(snapshots)" ] || fail "snapshots are left: $(snapshots)"
stays_whole "a drill with snapshots"

echo "== reset"
first=$(primary)
(pgaf drill postmaster-kill --reset --steady 8 --json "$WORK/result.json") >"$WORK/drill" 2>&1 </dev/null &
drill=$!
for ((tries = 0; tries < 600; tries++)); do
  [ "$(snapshots | wc -l)" -lt 3 ] || break
  kill -0 "$drill" 2>/dev/null || { cat "$WORK/drill"; fail "it ended without snapshots"; }
  sleep 0.1
done
sql "$first" "insert into kept values ('meanwhile')"
kill -0 "$drill" 2>/dev/null || fail "the drill was over before the row was written"
status=0
wait "$drill" || status=$?
cp "$WORK/drill" "$WORK/out"
[ "$status" -eq 0 ] || fail "the drill ended with $status"
whole
[ -z "$(snapshots)" ] || fail "snapshots are left: $(snapshots)"
kept=$(sql "$(primary)" "select string_agg(word, ' ') from kept")
[ "$kept" = before ] || fail "what was written meanwhile is there: $kept"
