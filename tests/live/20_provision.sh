#!/usr/bin/env bash
# time-limit: 900
# scripts/postgres_ha.lua on real containers: what is refused touches nothing, a package that does not exist is named,
# two at once, killed half-way at several moments and repeated, a second run changes nothing, drift is mended, a full
# disk is named and survived, and destroy.lua leaves nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

prefix=${PGAFRUN_TEST_PREFIX:-pgaf-live-prov}
work=$(mktemp -d)
runs=0

fail() { echo "FAILED: $*"; [ ! -f "$work/out" ] || sed 's/^/    /' "$work/out"; exit 1; }
ok() { echo "ok: $*"; }

# inventory FILE LUA: the lab's inventory under names of our own, changed by some Lua.
inventory() {
  cat >"$1" <<END
local i = dofile("$PWD/scripts/inventory/lab.lua")
i.formation = "$prefix"
i.monitor.name = "$prefix-monitor"
i.nodes[1].name, i.nodes[2].name = "$prefix-1", "$prefix-2"
i.nodes[1].limits = { memory = "1GiB" }
i.provider.bake = false -- packages are installed on the nodes: 22_bake.sh is for the other way
$2
return i
END
}

# run INVENTORY SCRIPT ARGUMENTS...: its output is in $work/out, its status in $status.
run() {
  local inventory=$1
  shift
  status=0
  runs=$((runs + 1))
  "$PGAFRUN" -i "$inventory" "$@" >"$work/out" 2>&1 </dev/null || status=$?
}

said() { grep -F -- "$1" "$work/out" >/dev/null || fail "it did not say: $1"; }
on() { incus exec "$1" --force-noninteractive -- sh -eu; }
as_postgres() { incus exec "$1" --force-noninteractive -- sh -c 'set -a; . /etc/pgafrun/environment; set +a; cd /; exec setpriv --reuid=postgres --regid=postgres --init-groups sh -eu'; }
ours() { incus list -f csv -c n "user.pgaf.formation=$prefix" </dev/null; }

finish() {
  local status=$? name
  for name in $(incus list -f csv -c n "^$prefix" </dev/null); do incus delete -f "$name" </dev/null & done
  wait
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

inventory "$work/right.lua" ''

# ---------------------------------------------------------------------- refused, and nothing touched

inventory "$work/remote.lua" 'i.provider.remote = "no-such-remote"'
run "$work/remote.lua" postgres_ha
[ "$status" -eq 1 ] || fail "an unknown remote: status $status"
said no-such-remote
ok "an unknown remote is named"

inventory "$work/image.lua" 'i.provider.image = "no-such/image"'
run "$work/image.lua" postgres_ha
[ "$status" -eq 1 ] || fail "an unknown image: status $status"
said no-such/image
[ -z "$(ours)" ] || fail "something was made"
ok "an unknown image is named, and nothing is made"

incus init debian/12 "$prefix-2" </dev/null >/dev/null
run "$work/right.lua" postgres_ha
[ "$status" -eq 1 ] || fail "a foreign instance: status $status"
said "$prefix-2 exists, and carries not the tag of formation $prefix: nothing was touched"
[ "$(incus list -f csv -c n "^$prefix" </dev/null)" = "$prefix-2" ] || fail "something was made beside the foreign instance"
run "$work/right.lua" destroy --yes
[ "$status" -eq 0 ] || fail "destroy beside a foreign instance: status $status"
incus info "$prefix-2" </dev/null >/dev/null || fail "the foreign instance was deleted"
incus delete "$prefix-2" </dev/null
ok "a foreign instance is neither adopted nor deleted"

# ---------------------------------------------------------------------- a package that does not exist

inventory "$work/package.lua" 'i.postgres.version = 97'
run "$work/package.lua" postgres_ha
[ "$status" -eq 1 ] || fail "a package that does not exist: status $status"
said "FAILED: packages on $prefix-1"
said postgresql-97-auto-failover
[ "$(ours | wc -l)" -eq 3 ] || fail "the instances are not there, or not tagged"
ok "a package that does not exist is named, and what was made is ours"

inventory "$work/key.lua" 'i.postgres.source = "pgdg"; i.postgres.pgdg = { key = "https://127.0.0.1:9/key.asc" }'
run "$work/key.lua" postgres_ha
[ "$status" -eq 1 ] || fail "a signing key that cannot be fetched: status $status"
said "$prefix-1 cannot fetch the signing key https://127.0.0.1:9/key.asc"
ok "a signing key that cannot be fetched is named"

# ---------------------------------------------------------------------- killed half-way, two at once

# killed_at PATTERN SECONDS: starts a run, waits until it says PATTERN, and some time more, and kills it.
killed_at() {
  local pid try
  runs=$((runs + 1))
  "$PGAFRUN" -v -i "$work/right.lua" postgres_ha >"$work/out" 2>&1 </dev/null &
  pid=$!
  for try in $(seq 1800); do
    if grep -E "$1" "$work/out" >/dev/null; then break; fi
    kill -0 "$pid" 2>/dev/null || fail "it ended before it said $1"
    sleep 0.1
  done
  sleep "$2"
  if [ "${3:-}" = doubled ]; then
    mv "$work/out" "$work/first"
    run "$work/right.lua" postgres_ha
    [ "$status" -eq 1 ] || fail "two at once: status $status"
    said "is being changed by"
    said "$pid"
    ok "a second run at the same time is refused, with the holder"
  fi
  kill -9 "$pid" 2>/dev/null || fail "it ended within $2 s after it said $1"
  wait "$pid" 2>/dev/null || true
  ok "killed $2 s after '$1' (try $try)"
}

# interrupted_at_once: interrupts a run whose first instance's image is just being unpacked, which the server goes on with.
interrupted_at_once() {
  local pid
  runs=$((runs + 1))
  "$PGAFRUN" -i "$work/right.lua" postgres_ha >"$work/out" 2>&1 </dev/null &
  pid=$!
  until [ -n "$(ours)" ]; do
    kill -0 "$pid" 2>/dev/null || fail "it ended before an instance was there"
    sleep 0.1
  done
  kill -INT "$pid"
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 130 ] || fail "interrupted: status $status"
  said "interrupted in: instance on $prefix-monitor"
  said "goes on at the server"
}

run "$work/right.lua" destroy --yes
interrupted_at_once
run "$work/right.lua" destroy --yes
[ "$status" -eq 0 ] || fail "destroyed while an instance is being created: status $status"
[ -z "$(ours)" ] || fail "left: $(ours)"
interrupted_at_once
run "$work/right.lua" postgres_ha --tags machines
[ "$status" -eq 0 ] || fail "repeated while an instance is being created: status $status"
run "$work/right.lua" destroy --yes
[ "$status" -eq 0 ] || fail "destroyed: status $status"
ok "what the server still creates for an interrupted run is waited for, by the next run and by destroy"

killed_at ' instance ' 6 doubled
killed_at ' packages ' 0.3
killed_at ' settings ' 0.6
killed_at ' cluster +'"$prefix"'-monitor' 0.5
killed_at ' monitor +'"$prefix"'-monitor' 0.7
killed_at ' member ' 0.8
run "$work/right.lua" postgres_ha
[ "$status" -eq 0 ] || fail "repeated after six kills: status $status"
said "$prefix-1.lxd:5432,$prefix-2.lxd:5432/appdb?target_session_attrs=read-write"
ok "repeated after six kills it is whole"

lease=$(incus config get "$prefix-monitor" user.pgaf.lock </dev/null)
run "$work/right.lua" postgres_ha
[ "$status" -eq 0 ] || fail "second run: status $status"
said "nothing changed in "
[ "$(incus config get "$prefix-monitor" user.pgaf.lock </dev/null)" = "$lease" ] || fail "a second run wrote a lease"
ok "a second run: $(grep -F 'nothing changed' "$work/out")"

# ---------------------------------------------------------------------- what was made

[ "$(as_postgres "$prefix-1" <<<'psql -XAtqd postgres -c "show shared_buffers"')" = 256MB ] || fail "shared_buffers is not a quarter of the container's limit"
[ "$(as_postgres "$prefix-1" <<<'psql -XAtqd postgres -c "select count(*) from pg_authid where rolcanlogin and rolsuper"')" = 1 ] || fail "more superusers than postgres"
for node in monitor 1 2; do
  [ -z "$(on "$prefix-$node" <<<'pg_lsclusters -h 2>/dev/null || :')" ] || fail "the distribution's own cluster is on $node"
  if on "$prefix-$node" <<<'cat /var/lib/postgresql/pgaf/pg/pg_hba.conf' | grep -E '^[^#].*(trust|password|md5)'; then fail "pg_hba.conf on $node"; fi
  found=$(on "$prefix-$node" <<<'cd /var/lib/postgresql/pgaf; find . -path ./pg/data -prune -o -type f -perm /077 -print; grep -rlF changeme-DEV-ONLY . /etc/pgafrun 2>/dev/null || :')
  [ -z "$found" ] || fail "open files, or the password in clear, on $node: $found"
done
ok "memory, superusers, clusters, access rules and files are as promised"

# ---------------------------------------------------------------------- drift

on "$prefix-2" <<<'sed -i s/LimitNOFILE=65536/LimitNOFILE=1024/ /etc/systemd/system/pgautofailover.service; systemctl stop pgautofailover'
on "$prefix-1" <<<'pg_createcluster --start -p 5499 15 main >/dev/null'
as_postgres "$prefix-monitor" <<<'psql -XAtqd postgres -c "alter system set pgautofailover.primary_demote_timeout = 1234" -c "select pg_reload_conf()" >/dev/null'
run "$work/right.lua" postgres_ha
[ "$status" -eq 0 ] || fail "drift: status $status"
[ "$(grep -c ' s  changed  ' "$work/out")" -eq 4 ] || fail "four things were to be mended"
said "stopped the distribution's cluster 15/main"
[ -z "$(on "$prefix-1" <<<'pg_lsclusters -h | grep online || :')" ] || fail "the distribution's cluster runs"
said "reset pgautofailover.primary_demote_timeout"
said "$prefix-2 is not running"
[ "$(on "$prefix-2" <<<'systemctl show pgautofailover -p LimitNOFILE --value')" = 65536 ] || fail "the unit is not mended"
run "$work/right.lua" postgres_ha
said "nothing changed in "
ok "drift is mended, and nothing else is touched"

incus stop -f "$prefix-2" </dev/null
run "$work/right.lua" postgres_ha
[ "$status" -eq 0 ] || fail "a stopped instance: status $status"
ok "a stopped instance is started, and the formation whole again"

# ---------------------------------------------------------------------- a full disk

on "$prefix-2" <<<'systemctl stop pgautofailover; cd /var/lib/postgresql/pgaf; rm -rf pg/data pg/backup config/pg_autoctl share/pg_autoctl; cp -a pg /root/pg; mount -t tmpfs -o size=20m,mode=0700 tmpfs pg; chown postgres: pg; cp -a /root/pg/. pg'
run "$work/right.lua" postgres_ha
[ "$status" -eq 1 ] || fail "a full disk: status $status"
said "FAILED: member on $prefix-2"
said "No space left on device"
on "$prefix-2" <<<'systemctl stop pgautofailover; umount -l /var/lib/postgresql/pgaf/pg'
run "$work/right.lua" postgres_ha
[ "$status" -eq 0 ] || fail "after a full disk: status $status"
ok "a full disk is named, and with room again the node joins"

# ---------------------------------------------------------------------- a lost node

incus delete -f "$prefix-1" </dev/null
run "$work/right.lua" postgres_ha
[ "$status" -eq 0 ] || fail "the primary's instance was deleted: status $status"
said "$prefix-1 has lost what the monitor knows it for"
grep -E "^$prefix-2 .* primary +primary +good" "$work/out" >/dev/null || fail "the standby has not become primary"
grep -E "^$prefix-1 .* secondary +secondary +good" "$work/out" >/dev/null || fail "the lost node has not come back"
run "$work/right.lua" postgres_ha
said "nothing changed in "
ok "the primary's instance, deleted, is made anew as a standby of the other"

# ---------------------------------------------------------------------- removal

run "$work/right.lua" destroy
[ "$status" -eq 64 ] || fail "destroy without --yes: status $status"
inventory "$work/production.lua" 'i.environment = "production"; i.application.password = require("pgaf.secret").env "HOME"'
run "$work/production.lua" destroy --yes
[ "$status" -eq 64 ] || fail "destroy in production without the name: status $status"
said "name the formation"
[ "$(ours | wc -l)" -eq 3 ] || fail "something is gone already"
run "$work/right.lua" destroy --yes
[ "$status" -eq 0 ] || fail "destroy: status $status"
[ -z "$(ours)" ] || fail "left: $(ours)"
ok "destroy asks first, and leaves nothing ($runs runs)"
