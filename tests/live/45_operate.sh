#!/usr/bin/env bash
# time-limit: 900
# The operators' scripts on real containers, each once for real, and with what they have to refuse: the primary's role
# is moved, nodes rest, restart, come and go, and the monitor is made anew on a new machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

WORK=$(mktemp -d /tmp/pgafrun-operate-test.XXXXXX)
# shellcheck disable=SC2034 # lib/drill.sh wants it
MONITOR=pgaf-optest-monitor
NODES=(pgaf-optest-1 pgaf-optest-2)
THIRD=pgaf-optest-3

# inventory FILE ENVIRONMENT NODE...
inventory() {
  local file=$1 environment=$2 name list=
  shift 2
  for name; do list+="{ name = \"$name\" }, "; done
  cat >"$file" <<LUA
return {
  environment = "$environment", formation = "pgaf-optest", provider = { kind = "incus", remote = "lab", image = "debian/12" },
  monitor = { name = "$MONITOR" }, nodes = { $list }, postgres = { version = 15, source = "distribution" },
  timers = {
    health_check_period = 1000, health_check_timeout = 4000, health_check_retry_delay = 500,
    node_considered_unhealthy_timeout = 10000, primary_demote_timeout = 10000, network_partition_timeout = 5,
  },
  application = {
    user = "app", database = "appdb", password = "a-long-one-for-tests-71", networks = { "10.177.64.0/24" },
  },
  operator_networks = { "10.177.64.0/24" },
}
LUA
}
inventory "$WORK/two.lua" lab "${NODES[@]}"
inventory "$WORK/three.lua" lab "${NODES[@]}" "$THIRD"
inventory "$WORK/production.lua" production "${NODES[@]}"
# in production no password is written in clear
sed -i 's/password = "[^"]*"/password = require("pgaf.secret").env "OPTEST_PASSWORD"/' "$WORK/production.lua"
export OPTEST_PASSWORD=a-long-one-for-tests-71
INVENTORY=$WORK/two.lua
export XDG_STATE_HOME=$WORK/state-home

pgaf() { exec "$PGAFRUN" -i "$INVENTORY" "$@"; }

# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh

clean() {
  (INVENTORY=$WORK/three.lua && pgaf destroy --yes) >/dev/null 2>&1 </dev/null || echo "the formation could not be removed"
  rm -rf "$WORK"
}
trap clean EXIT

# does ARGUMENTS...: succeeds, in a formation that is whole before it and after it.
does() {
  whole
  expect 0 "$@"
  whole
}

# refuses CODE WORDS ARGUMENTS...
refuses() {
  local code=$1 words=$2
  shift 2
  expect "$code" "$@"
  says "$words"
}

# result PATH ARGUMENTS...: a value of what a script that succeeds tells with --json. A warning is none of it.
result() {
  local path=$1 status=0
  shift
  (pgaf "$@" --json) >"$WORK/out" 2>"$WORK/err" </dev/null || status=$?
  [ "$status" -eq 0 ] || { cat "$WORK/err"; fail "$1 ended with $status (arguments: ${*:2})"; }
  field "$WORK/out" "$path"
}

standby() { [ "$1" = "${NODES[0]}" ] && echo "${NODES[1]}" || echo "${NODES[0]}"; }

test_looks() {
  local name
  expect 0 uri
  says "postgres://app@"
  expect 0 uri --check
  says "takes writes"
  expect 0 uri --ca
  says "BEGIN CERTIFICATE"
  expect 0 settings max_connections
  says "max_connections"
  refuses 64 "no server has a setting max_conections" settings max_conections
  expect 0 events -n 5 --json
  [ -n "$(field "$WORK/out" events.5.description)" ] || fail "an event without a description"
  for name in "$MONITOR" "${NODES[@]}"; do
    expect 0 logs "$name" -n 3
    [ "$(wc -l <"$WORK/out")" -eq 3 ] || fail "other than three lines of the log of $name"
  done
  expect 0 logs -n 2
  for name in "$MONITOR" "${NODES[@]}"; do says "$name"; done
  refuses 64 "did you mean" logs pgaf-optest-7
}

# Each input of a script that is piped in finds what it should.
test_prompt() {
  local lead
  lead=$(primary)
  (pgaf repl) >"$WORK/out" 2>&1 <<LUA || fail "the prompt: $(cat "$WORK/out")"
formation
assert(primary().name == "$lead")
assert(primary():sql("select pg_is_in_recovery() as standby")[1].standby == "f")
assert(nodes["$(standby "$lead")"]:sql("select pg_is_in_recovery() as standby")[1].standby == "t")
assert(monitor:sql("select count(*) as n from pgautofailover.node")[1].n == "2")
assert(nodes["$lead"]:exec("id -un", { user = "postgres" }).stdout == "postgres\\n")
assert(#monitor:events(3) == 3 and #incus:instances() >= 3)
assert(nodes["$lead"]:logs { lines = 2 }.stdout ~= "")
LUA
  says "the formation is whole"
  (INVENTORY=$WORK/production.lua && pgaf repl) >"$WORK/out" 2>&1 <<<'primary():exec "true"' && fail "production was not asked about"
  says "start with --i-know-this-is"
}

test_follow() {
  local tries follower
  (pgaf logs --follow -n 1) >"$WORK/followed" 2>&1 </dev/null &
  follower=$!
  for ((tries = 0; tries < 200; tries++)); do
    [ "$(grep -c -e "^$MONITOR" -e "^${NODES[0]}" "$WORK/followed")" -lt 2 ] || break
    sleep 0.1
  done
  does switchover
  for ((tries = 0; tries < 200; tries++)); do
    ! grep -q "^${NODES[0]}.*[Ff]SM" "$WORK/followed" || break
    sleep 0.1
  done
  kill -INT "$follower"
  wait "$follower" && fail "following ended with 0" || [ $? -eq 130 ] || fail "following did not end with 130"
  grep -q "^${NODES[0]}.*[Ff]SM" "$WORK/followed" || { cat "$WORK/followed"; fail "no line came while it was followed"; }
}

test_move() {
  local before after
  before=$(primary)
  after=$(standby "$before")
  refuses 2 "would move the primary's role from $before to $after" switchover --check
  [ "$(result to switchover)" = "$after" ] || fail "the role went elsewhere"
  [ "$(field "$WORK/out" felt.acknowledged)" -gt 50 ] || fail "hardly a write was measured"
  [ "$(primary)" = "$after" ] || fail "$after is not primary"
  [ "$(result changed promote "$after")" = false ] || fail "a primary was promoted"
  [ "$(result changed promote "$before")" = true ] || fail "$before was not promoted"
  [ "$(primary)" = "$before" ] || fail "$before is not primary again"
  refuses 64 "did you mean" promote pgaf-optest-7
  refuses 64 "no data node" switchover --to "$MONITOR"
  INVENTORY=$WORK/production.lua refuses 64 "--i-know-this-is pgaf-optest to move its primary" switchover
}

test_maintenance() {
  local lead rest
  lead=$(primary)
  rest=$(standby "$lead")
  refuses 1 "is the primary" maintenance on "$lead"
  [ "$(result changed maintenance on "$rest")" = true ] || fail "it changed nothing"
  [ "$(result changed maintenance on "$rest")" = false ] || fail "it changed something the second time"
  refuses 1 "nothing was touched" switchover
  [ "$(result changed maintenance off "$rest")" = true ] || fail "it changed nothing"
  [ "$(result changed maintenance off "$rest")" = false ] || fail "it changed something the second time"
  whole
  expect 0 maintenance on "$lead" --allow-failover
  expect 0 maintenance off "$lead" --no-measure
  [ "$(primary)" = "$rest" ] || fail "the role came back by itself"
  refuses 64 "must be one of" maintenance up "$lead"
}

test_restart() {
  local lead rest
  lead=$(primary)
  rest=$(standby "$lead")
  does restart "$rest"
  does restart "$MONITOR"
  refuses 2 "would restart the standby $lead" restart "$lead" --check
  [ "$(result moved.to restart "$lead" --machine)" = "$rest" ] || fail "the role was not moved first"
  [ "$(primary)" = "$rest" ] || fail "$rest is not primary"
  (pgaf tests/live/lib/power.lua "$lead" off)
  refuses 1 "--machine starts it" restart "$lead"
  expect 0 restart "$lead" --machine
}

test_membership() {
  local lead
  lead=$(primary)
  refuses 1 "is the primary" drop_node "$lead"
  refuses 1 "no standby would be left" drop-node "$(standby "$lead")"
  refuses 64 "no data node" add_node "$THIRD"
  INVENTORY=$WORK/three.lua
  expect 2 add_node "$THIRD" --check
  expect 0 add-node "$THIRD"
  says "$THIRD is secondary"
  [ "$(result changed add_node "$THIRD")" = false ] || fail "it was added twice"
  refuses 2 "would take $THIRD out" drop_node "$THIRD" --check
  expect 0 drop_node "$THIRD"
  says "out of nodes in the inventory"
  INVENTORY=$WORK/two.lua
  whole
  [ "$(result removed drop_node "$THIRD" --remove)" = true ] || fail "its machine is kept"
  refuses 64 "no data node" drop_node "$THIRD"
}

# postmaster NODE: which server it is, by process and time.
postmaster() { incus exec "lab:$1" --force-noninteractive -- head -n 3 /var/lib/postgresql/pgaf/pg/data/postmaster.pid; }

test_monitor() {
  local lead server
  [ "$(result changed replace_monitor)" = false ] || fail "a monitor that answers was replaced"
  lead=$(primary)
  server=$(postmaster "$lead")
  incus delete --force "lab:$MONITOR"
  refuses 1 "--new-authority does that" replace_monitor
  refuses 2 "with a new authority" replace_monitor --new-authority --check
  expect 0 replace-monitor --new-authority
  says "is the monitor of all data nodes"
  [ "$(primary)" = "$lead" ] || fail "the primary is another one now"
  [ "$(postmaster "$lead")" = "$server" ] || fail "the primary's server was restarted"
  does switchover
}

expect 0 postgres_ha
for name in looks prompt move follow maintenance restart membership monitor; do
  echo "== $name ($SECONDS s)"
  "test_$name"
done
rm -f "$WORK/out"
