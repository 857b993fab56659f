#!/usr/bin/env bash
# time-limit: 900
# --check and --diff of scripts/postgres_ha.lua on real containers: of nothing and of a drifted formation they tell what a
# run would change and change nothing, neither in the nodes' file systems nor in the monitor's tables nor on the server;
# each drift made by hand is named, mended by a run that changes just that, and gone afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

prefix=${PGAFRUN_TEST_PREFIX:-pgaf-live-check}
work=$(mktemp -d)
m=$prefix-monitor n1=$prefix-1 n2=$prefix-2
base=/var/lib/postgresql/pgaf
# locks are to be found here
export XDG_STATE_HOME=$work/state
unset XDG_RUNTIME_DIR

fail() {
  echo "FAILED: $*"
  for file in out out.json; do [ ! -f "$work/$file" ] || tail -n 60 "$work/$file" | sed 's/^/    /'; done
  exit 1
}
ok() { echo "ok: $*"; }

finish() {
  local status=$? name
  if [ -z "${PGAFRUN_TEST_KEEP:-}" ]; then
    for name in $(incus list -f csv -c n "^$prefix" </dev/null); do incus delete -f "$name" </dev/null & done
    wait
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

cat >"$work/inventory.lua" <<END
local i = dofile("$PWD/scripts/inventory/lab.lua")
i.formation = "$prefix"
i.monitor.name = "$m"
i.nodes[1].name, i.nodes[2].name = "$n1", "$n2"
i.nodes[1].limits = { memory = "1GiB" }
return i
END

# play ARGUMENTS...: postgres_ha for people; output in $work/out, exit code in $status.
play() {
  status=0
  "$PGAFRUN" -i "$work/inventory.lua" postgres_ha "$@" >"$work/out" 2>&1 </dev/null || status=$?
}

# json ARGUMENTS...: the same for programs, in $work/out.json.
json() {
  status=0
  "$PGAFRUN" -i "$work/inventory.lua" postgres_ha --json "$@" >"$work/out.json" 2>"$work/err" </dev/null || status=$?
}

# but the packages' image: whether it is there, and whether a baking was interrupted, depends on what ran before
items() { "$PGAFRUN" tests/live/lib/items.lua "$work/out.json" "$@" | sed '/^image on /d'; }
# what people read of it, in the same words
would() { awk -F '  +' '$3 == "would" && $4 !~ /^(reload |image$)/ { print $4 " on " $5 }' "$work/out" | sort; }
said() { grep -E -- "$1" "$work/out" >/dev/null || fail "it did not say: $1"; }
on() { incus exec "$1" --force-noninteractive -- sh -eu; }
as_postgres() {
  incus exec "$1" --force-noninteractive -- sh -c 'set -a; . /etc/pgafrun/environment; set +a; cd /
    exec setpriv --reuid=postgres --regid=postgres --init-groups sh -eu'
}
sql() { as_postgres "$1" <<<"psql -XAtq -v ON_ERROR_STOP=1 -d '$2' <<'END'
$3
END"; }

# ---------------------------------------------------------------------- nothing is there

play --check --diff
[ "$status" -eq 2 ] || fail "--check of nothing: status $status"
json --check
[ "$status" -eq 2 ] || fail "--check --json of nothing: status $status"
[ "$(items would)" = "$(printf 'instance on %s\n' "$n1" "$n2" "$m")" ] || fail "would: $(items would)"
[ -z "$(items ok changed failed unreachable)" ] || fail "something was looked at that is not there"
[ "$(items deferred | wc -l)" -gt 20 ] || fail "the other steps are not told"
[ -z "$(incus list -f csv -c n "^$prefix" </dev/null)" ] || fail "--check has made an instance"
[ ! -e "$XDG_STATE_HOME" ] || fail "--check has left a lock: $(find "$XDG_STATE_HOME")"
ok "of nothing: the instances would be made, all else would run after them, and nothing is touched"

# ---------------------------------------------------------------------- a formation

play
[ "$status" -eq 0 ] || fail "provisioning: status $status"
for node in "$m" "$n1" "$n2"; do on "$node" <<<'systemctl stop "*.timer"'; done # these write when they please
play --check --diff
[ "$status" -eq 0 ] || fail "--check of a whole formation: status $status"
json --check
[ "$status" -eq 0 ] || fail "--check --json of a whole formation: status $status"
[ -z "$(items would deferred changed failed)" ] || fail "of a whole formation: $(items would deferred changed failed)"
ok "of a whole formation: nothing would change, exit code 0"

# ---------------------------------------------------------------------- what --check touches

# Every file with its digest, mode, owner, size and times, folders too: a file that was made and removed again shows in its
# folder's. Left out are other file systems (/proc, /sys, /dev, /run), logs, the lease of the address, and what PostgreSQL
# and pg_autoctl write all the time: the cluster's tables, WAL and statistics (their contents are compared by SQL), the
# keeper's state file, sockets and pid files. PGDATA's own time is that of its last change of log files.
files() {
  on "$1" <<END
cd /
find . -xdev \\( -path ./var/log -o -path ./var/lib/dhcp -o -path .$base/run -o -path .$base/share \\
  -o -path "./var/lib/systemd/timers" \\
  -o \\( -path ".$base/pg/data/*" ! -name '*.conf' ! -name PG_VERSION ! -name '*.signal' \\) \\) -prune \\
  -o -path .$base/pg/data -printf '%p %y %m %U %G\\n' \\
  -o -printf '%p %y %m %U %G %s %T@ %C@ %l\\n' | sort
find etc home opt root srv usr var tmp -xdev \\( -path var/log -o -path var/lib/dhcp -o -path ${base#/}/run \\
  -o -path ${base#/}/share -o \\( -path "${base#/}/pg/data/*" ! -name '*.conf' \\) \\) -prune \\
  -o -type f -exec sha256sum {} + | sort -k 2
END
}

# What a server is told to be: roles, databases, rights, settings, when it has read its configuration and was started.
server() {
  sql "$1" postgres "
    select 'role', xmin, * from pg_authid order by oid;
    select 'member', xmin, * from pg_auth_members order by roleid, member;
    select 'database', xmin, oid, datname, datdba, datacl from pg_database order by oid;
    select 'schema', xmin, oid, nspname, nspowner, nspacl from pg_namespace where nspname !~ '^pg_t' order by oid;
    select 'role setting', * from pg_db_role_setting order by setdatabase, setrole;
    select 'setting', name, setting, source, sourcefile, sourceline, pending_restart from pg_settings order by name;
    select 'file setting', * from pg_file_settings order by seqno;
    select 'rule', line_number, type, database, user_name, address, auth_method from pg_hba_file_rules order by line_number;
    select 'loaded', pg_conf_load_time(), pg_postmaster_start_time();"
}

# The monitor's tables without the columns that tick.
monitor_tables() {
  sql "$m" pg_auto_failover "
    select 'formation', xmin, * from pgautofailover.formation order by formationid;
    select 'node', nodeid, formationid, groupid, nodename, nodehost, nodeport, sysidentifier, goalstate, reportedstate,
      candidatepriority, replicationquorum, nodecluster from pgautofailover.node order by nodeid;"
}

# everything FOLDER: all of it, in files.
everything() {
  local node
  mkdir "$1"
  for node in "$m" "$n1" "$n2"; do
    files "$node" >"$1/$node.files"
    server "$node" >"$1/$node.server"
    on "$node" >"$1/$node.system" <<<'systemctl show pgautofailover -p LoadState,ActiveState,MainPID,NRestarts \
        -p UnitFileState,NeedDaemonReload,ActiveEnterTimestamp
      dpkg -l; systemctl list-unit-files --no-pager --no-legend'
    incus config show "$node" </dev/null >"$1/$node.config"
  done
  monitor_tables >"$1/tables"
}

# The primary's PostgreSQL carries on with changed settings and rules; nothing of this takes a second to be noticed.
drift_of_all_kinds() {
  on "$n2" <<<'sed -i s/LimitNOFILE=65536/LimitNOFILE=1024/ /etc/systemd/system/pgautofailover.service
    dpkg --force-depends --remove openssl >/dev/null 2>&1'
  on "$n1" <<<"echo 'host all all 0.0.0.0/0 trust' >>$base/pg/pg_hba.conf"
  sql "$n1" appdb 'drop owned by pgaf_probe cascade; drop role pgaf_probe;'
  sql "$m" postgres 'alter system set pgautofailover.primary_demote_timeout = 1234; select pg_reload_conf();' >/dev/null
}

drift_of_all_kinds
sleep 2 # the reload
everything "$work/before"
lines=$(cat "$work/before"/* | wc -l)
[ "$lines" -gt 10000 ] || fail "the comparison has hardly anything to compare"
play --check --diff
[ "$status" -eq 2 ] || fail "--check of a drifted formation: status $status"
everything "$work/after"
diff -r "$work/before" "$work/after" >"$work/differs" || { head -n 40 "$work/differs"; fail "--check has changed something"; }
ok "--check --diff of a drifted formation changes nothing: $lines lines of evidence are the same"

# The evidence is worth something: it sees a file that was made and removed, and a role that was changed and changed back.
on "$n1" <<<"f=\$(mktemp $base/tls/.new.XXXXXX); rm \"\$f\""
files "$n1" | diff "$work/before/$n1.files" - >"$work/differs" && fail "a file made and removed is not seen"
grep -F "$base/tls " "$work/differs" >/dev/null || fail "the file made and removed is not what is seen"
sql "$m" postgres "alter role autoctl_node connection limit 5; alter role autoctl_node connection limit -1;"
server "$m" | diff "$work/before/$m.server" - >"$work/differs" && fail "a role changed and changed back is not seen"
grep -F autoctl_node "$work/differs" >/dev/null || fail "the role is not what is seen"
ok "and it would have seen a file made and removed, and a role changed and changed back"

json --check
expected=$(sort <<END
packages on $n2
roles on $n1
service on $n2
settings in force on $m
settings on $n1
END
)
[ "$(items would | grep -v '^reload ')" = "$expected" ] || fail "would: $(items would)"
json
[ "$status" -eq 0 ] || fail "mending five drifts: status $status"
[ "$(items changed | grep -v '^reload ')" = "$expected" ] || fail "changed: $(items changed)"
json --check
[ "$status" -eq 0 ] || fail "after mending: $(items would deferred failed)"
ok "a run changes just what --check told"

# ---------------------------------------------------------------------- each drift for itself

# settled: no node is on its way to another state, and all have been heard of since.
settled() {
  local query="select bool_and(reportedstate = goalstate and health = 1) from pgautofailover.node"
  for _ in $(seq 100); do
    [ "$(sql "$m" pg_auto_failover "$query" 2>/dev/null)" != t ] || return 0
    sleep 0.3
  done
  fail "the formation does not settle"
}

# drifted TITLE PATTERN ITEM...: --check --diff says PATTERN and exits with 2, a run changes the ITEMs ("step on node"; the
# handlers that they notify besides) and nothing else, and a second one nothing.
drifted() {
  local title=$1 pattern=$2 expected
  shift 2
  expected=$(printf '%s\n' "$@" | sort)
  play --check --diff
  [ "$status" -eq 2 ] || fail "$title: --check: status $status"
  said "$pattern"
  [ "$(would)" = "$expected" ] || fail "$title: would: $(would)"
  json
  [ "$status" -eq 0 ] || fail "$title: mending it: status $status"
  [ "$(items changed | grep -v '^reload ')" = "$expected" ] || fail "$title: changed: $(items changed)"
  play
  said "nothing changed"
  ok "$title"
}

on "$n2" <<<'sed -i s/LimitNOFILE=65536/LimitNOFILE=1024/ /etc/systemd/system/pgautofailover.service'
drifted "a changed unit file" '^ *\+LimitNOFILE=65536' "service on $n2"

on "$n2" <<<'systemctl stop pgautofailover'
drifted "a stopped service" "$n2 is not running" "member on $n2"

on "$m" <<<'systemctl stop pgautofailover'
drifted "the monitor's stopped service" "the monitor does not run" "monitor on $m"
settled

sql "$m" postgres 'alter system set pgautofailover.primary_demote_timeout = 1234; select pg_reload_conf();' >/dev/null
drifted "a monitor's timer, by ALTER SYSTEM" 'pgautofailover.primary_demote_timeout: 1234 -> 30000' "settings in force on $m"

on "$m" <<<"sed -i 's/health_check_period = 5000/health_check_period = 6000/' $base/pg/node.conf"
sql "$m" postgres 'select pg_reload_conf();' >/dev/null
drifted "a monitor's timer, in its file" '^ *\+pgautofailover.health_check_period = 5000' "settings on $m"

sql "$m" pg_auto_failover "select pgautofailover.set_node_candidate_priority('default', '$n2', 40);" >/dev/null
settled
drifted "a formation setting" "candidate_priority of $n2: 40 -> 50" "formation settings on $m"
settled

sql "$n1" appdb 'drop owned by pgaf_probe cascade; drop role pgaf_probe;'
drifted "a dropped role" 'role pgaf_probe: missing -> login' "roles on $n1"

sql "$n1" postgres 'alter role app superuser createdb;'
drifted "a role with other rights" 'role app: login createrole or createdb superuser -> login' "roles on $n1"

on "$n1" <<<"echo 'host all all 0.0.0.0/0 trust' >>$base/pg/pg_hba.conf"
sql "$n1" postgres 'select pg_reload_conf();' >/dev/null
drifted "a changed pg_hba.conf" '^ *-host all all 0.0.0.0/0 trust' "settings on $n1"
[ -z "$(sql "$n1" postgres "select 1 from pg_hba_file_rules where auth_method = 'trust'")" ] || fail "the rule is still there"

sql "$n1" postgres "alter system set work_mem = '8MB'; select pg_reload_conf();" >/dev/null
drifted "a PostgreSQL setting, by ALTER SYSTEM" 'work_mem: 8MB -> 4MB' "settings in force on $n1"

on "$n2" <<<"echo \"work_mem = '9MB'\" >>$base/pg/data/postgresql.conf"
sql "$n2" postgres 'select pg_reload_conf();' >/dev/null
drifted "a PostgreSQL setting, at the end of postgresql.conf" 'work_mem: 9MB -> 4MB' "settings in force on $n2"
[ "$(sql "$n2" postgres 'show work_mem')" = 4MB ] || fail "work_mem is still another"

on "$n2" <<<'dpkg --force-depends --remove openssl >/dev/null 2>&1'
drifted "a missing package" 'to install: openssl' "packages on $n2"

as_postgres "$n2" <<<'pg_autoctl config set timeout.network_partition_timeout 7 >/dev/null 2>&1'
drifted "a keeper's timer" 'network_partition_timeout: 7 -> 20' "keeper on $n2"

on "$n2" <<<"chmod 0644 $base/tls/server.crt"
drifted "a certificate that is not private" "server.crt is not private -> for $n2" "certificate on $n2"

on "$n1" <<<"echo garbage >$base/tls/server.crt"
drifted "a damaged certificate" 'no certificate is in .*server.crt -> for ' "certificate on $n1"

on "$m" <<<"sed -i 's/$n1\$/elsewhere/' /etc/hosts"
drifted "names of the nodes" '^ *-.* elsewhere' "names of the nodes on $m"

# stopped_instance NODE DEFERRED: nothing is said of what is in it, nor of what only it knows.
stopped_instance() {
  incus stop -f "$1" </dev/null
  json --check
  [ "$status" -eq 2 ] || fail "the stopped instance $1: --check: status $status"
  [ "$(items would)" = "instance on $1" ] || fail "the stopped instance $1: would: $(items would)"
  items deferred | grep -Fx "$2" >/dev/null || fail "the stopped instance $1: deferred: $(items deferred)"
  json
  [ "$status" -eq 0 ] || fail "the stopped instance $1: status $status"
  [ "$(items changed)" = "instance on $1" ] || fail "the stopped instance $1: changed: $(items changed)"
  ok "the stopped instance $1"
}

stopped_instance "$n2" "member on $n2"
stopped_instance "$m" "certificate on $n1"

# ---------------------------------------------------------------------- no secret is shown

on "$m" <<<"echo Other-Password-4711 >$base/home/replication_password"
play --check --diff
[ "$status" -eq 2 ] || fail "another password: --check: status $status"
said 'pgpass.*<secret>'
if grep -E 'Other-Password-4711|changeme-DEV-ONLY' "$work/out"; then fail "a password is shown"; fi
ok "passwords are masked in differences"
