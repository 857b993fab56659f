# shellcheck shell=bash
# The drill against a real formation, whatever provider it has. The caller sets
#   WORK       a folder of its own
#   INVENTORY  of a formation with the nodes MONITOR, and NODES (an array of two)
# and defines `pgaf ARGUMENTS...`, which runs pgafrun with that inventory and execs it.

fail() {
  echo "FAILED: $*"
  [ ! -s "$WORK/out" ] || sed 's/^/    /' "$WORK/out"
  exit 1
}

# expect CODE ARGUMENTS...: runs pgafrun, its output in $WORK/out.
expect() {
  local wanted=$1 status=0
  shift
  (pgaf "$@") >"$WORK/out" 2>&1 </dev/null || status=$?
  [ "$status" -eq "$wanted" ] || fail "$1 ended with $status, not $wanted (arguments: ${*:2})"
}

says() { grep -qF -- "$1" "$WORK/out" || fail "the output lacks: $1"; }

# field FILE PATH: a value of a JSON file, such as verdict.code
field() {
  "$PGAFRUN" -e '
    local file, path = ...
    local value = require("pgafrun.json").decode(require("pgafrun.fs").read(file))
    for key in path:gmatch "[^.]+" do value = value[math.tointeger(tonumber(key)) or key] end
    print(value)' "$1" "$2"
}

is_whole() { (pgaf scripts/state.lua) >"$WORK/state" 2>&1 </dev/null; }

# whole: waits until the formation is whole after this test itself broke it.
whole() {
  local tries
  for ((tries = 0; tries < 240; tries++)); do
    ! is_whole || return 0
    sleep 0.5
  done
  cat "$WORK/state"
  fail "the formation does not become whole"
}

# stays_whole WHAT: after a drill there is nothing to wait for.
stays_whole() { is_whole || { cat "$WORK/state"; fail "after $1 the formation is not whole"; }; }

# A standby that has just begun to follow another primary may restart once more: whole is what is read whole here.
primary() {
  local tries=0 first=1
  until (pgaf scripts/state.lua --json) >"$WORK/out" 2>&1 </dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 240 ] || fail "the formation does not become whole"
    sleep 0.5
  done
  [ "$(field "$WORK/out" nodes.1.reported)" = primary ] || first=2
  field "$WORK/out" "nodes.$first.name"
}

runs() { find "$WORK/state-home" -name journal | wc -l; }

# untouched COMMAND...: it makes no run, and the primary stays with its timeline.
untouched() {
  local before after runs_before
  primary >/dev/null
  before=$(field "$WORK/out" nodes.1.timeline)
  runs_before=$(runs)
  "$@"
  [ "$(runs)" -eq "$runs_before" ] || fail "a refused drill began a run"
  primary >/dev/null
  after=$(field "$WORK/out" nodes.1.timeline)
  [ "$before" = "$after" ] || fail "a refused drill changed the timeline: $before, $after"
}

# begun PATTERN: starts a drill in the background and waits until it says PATTERN. Its pid is in DRILL.
begun() {
  local tries
  : >"$WORK/drill"
  (pgaf --attachable scripts/failover_drill.lua --rto 60) >"$WORK/drill" 2>&1 </dev/null &
  DRILL=$!
  for ((tries = 0; tries < 2400; tries++)); do
    ! grep -q -- "$1" "$WORK/drill" || return 0
    [ -d "/proc/$DRILL" ] || break
    sleep 0.05
  done
  cat "$WORK/drill"
  fail "the drill never said: $1"
}

passes_and_swaps() {
  local before=$1 after=$2
  expect 0 scripts/failover_drill.lua --rto 60 --budget promotion=60 --budget reader=60 --json "$WORK/result.json"
  says PASSED
  # the second of the clients is the reader
  [ "$(field "$WORK/result.json" recoveries.2.budget)" = 60 ] || fail "the reader's budget is not in the result"
  [ "$(field "$WORK/result.json" recoveries.2.recovered)" = true ] || fail "the reader did not come back"
  [ "$(field "$WORK/result.json" verdict.code)" = 0 ] || fail "the result does not say that it passed"
  [ "$(field "$WORK/result.json" roles.before.primary)" = "$before" ] || fail "the old primary is not $before"
  [ "$(field "$WORK/result.json" roles.after.primary)" = "$after" ] || fail "the new primary is not $after"
  [ "$(field "$WORK/result.json" writes.acknowledged)" -gt 100 ] || fail "hardly anything was written"
  says "nobody could write"
  # nobody can have waited for less than there was nothing to be had
  awk -v all="$(field "$WORK/result.json" outage.seconds)" -v one="$(field "$WORK/result.json" gap.seconds)" \
    -v rows="$(field "$WORK/result.json" outage.by_rows)" 'BEGIN { exit !(all > 0 && all <= one && rows > 0) }' ||
    fail "the outage does not go with what the slowest client felt"
  stays_whole "a drill that passed"
}

test_passes_twice_and_swaps() {
  local first second
  first=$(primary)
  second=${NODES[0]}
  [ "$first" != "$second" ] || second=${NODES[1]}
  passes_and_swaps "$first" "$second"
  passes_and_swaps "$second" "$first"
  expect 0 scripts/failover_drill.lua --rto 60 --switch-back --json "$WORK/result.json"
  [ "$(primary)" = "$first" ] || fail "the roles were not switched back"
}

# All is well, and the settings are held against what is asked of them.
test_doctor() {
  expect 0 scripts/doctor.lua --rto 60
  says "the formation is whole"
  expect 1 scripts/doctor.lua --rto 0.5
  says "it cannot be kept"
}

test_impossible_budget() {
  expect 2 scripts/failover_drill.lua --rto 0.5 --json "$WORK/result.json"
  says "primary_demote_timeout"
  says "nothing was touched"
  [ "$(field "$WORK/result.json" verdict.code)" = 2 ] || fail "the result does not say that it was refused"
}

test_degraded_baseline() {
  local standby=${NODES[0]}
  [ "$(primary)" != "$standby" ] || standby=${NODES[1]}
  (pgaf tests/live/lib/power.lua "$standby" off)
  expect 1 scripts/failover_drill.lua --rto 60
  says "$standby"
  expect 1 scripts/doctor.lua
  says "it is stopped"
  (pgaf tests/live/lib/power.lua "$standby" on)
}

test_monitor_down() {
  (pgaf tests/live/lib/power.lua "$MONITOR" off)
  expect 3 scripts/failover_drill.lua --rto 60
  says "$MONITOR"
  # one node out of reach hides nothing of the others
  expect 1 scripts/doctor.lua
  says "it is stopped"
  says "good until"
  (pgaf tests/live/lib/power.lua "$MONITOR" on)
}

# Also when another drill is at work: the second is refused, and the first is not disturbed.
test_interrupted() {
  local status moment
  for moment in "fault sent" "promotion assigned" "being put back" "secondary again"; do
    begun "$moment"
    if [ "$moment" = "promotion assigned" ]; then
      expect 3 scripts/failover_drill.lua --rto 60
      says "is being changed by"
      # who looks into it disturbs nothing either
      expect 0 scripts/attach.lua failover_drill -c :tasks -c :timeline -c drill.result.roles.before.primary
      says "watch the monitor"
      says "fault sent"
    fi
    kill -INT "$DRILL"
    status=0
    wait "$DRILL" || status=$?
    cp "$WORK/drill" "$WORK/out"
    [ "$status" -eq 130 ] || fail "interrupted at '$moment' it ended with $status, not 130"
    stays_whole "an interruption at '$moment'"
  done
}

test_killed_and_restored() {
  local moment status
  for moment in "fault sent" "takes writes"; do
    begun "$moment"
    kill -KILL "$DRILL"
    wait "$DRILL" || true
    expect 1 scripts/failover_drill.lua --rto 60
    says "was not put back"
    says "scripts/restore.lua"
    # 3 while the node is just dying: what it has cannot be looked at then
    status=0
    (pgaf scripts/doctor.lua) >"$WORK/out" 2>&1 </dev/null || status=$?
    [ "$status" -eq 1 ] || [ "$status" -eq 3 ] || fail "doctor ended with $status, with a drill that was not put back"
    says "a drill was not put back"
    expect 0 scripts/restore.lua
    says "the formation is whole"
    stays_whole "a restore"
    expect 0 scripts/restore.lua
    says "nothing to put back"
  done
}

test_no_table_is_left() {
  expect 0 tests/live/lib/tables.lua
}

# Replication made asynchronous behind the drill's back: what was acknowledged dies with the primary.
test_lost_writes() {
  local name
  name=$(primary)
  (pgaf tests/live/lib/sql.lua "$name" "alter system set wal_writer_delay = '10s'")
  (pgaf tests/live/lib/sql.lua "$name" "select pg_reload_conf()") >"$WORK/out"
  (pgaf tests/live/lib/sql.lua "$name" "alter role pgaf_probe set synchronous_commit = off")
  expect 4 scripts/failover_drill.lua --rto 60 --json "$WORK/result.json"
  says "DATA LOST"
  [ "$(field "$WORK/result.json" audit.lost.1)" -gt 0 ] || fail "the lost writes are not named"
  name=$(primary)
  (pgaf tests/live/lib/sql.lua "$name" "alter role pgaf_probe reset synchronous_commit")
  stays_whole "a drill that lost data"
}

# A monitor that may not promote anybody.
test_no_promotion() {
  local standby=${NODES[0]}
  [ "$(primary)" != "$standby" ] || standby=${NODES[1]}
  (pgaf tests/live/lib/sql.lua monitor "select pgautofailover.set_node_candidate_priority('default', '$standby', 0)")
  whole
  expect 2 scripts/failover_drill.lua --rto 15 --json "$WORK/result.json"
  says "no client could write again"
  (pgaf tests/live/lib/sql.lua monitor "select pgautofailover.set_node_candidate_priority('default', '$standby', 50)")
  whole
}

# The victim has lost its configuration: it is not put back, no other drill begins, and once it can start restore works.
test_cannot_come_back() {
  local victim
  victim=$(primary)
  (pgaf tests/live/lib/hide.lua "$victim" away)
  expect 5 scripts/failover_drill.lua --rto 60 --repair-timeout 15 --json "$WORK/result.json"
  says "could not be put back"
  expect 1 scripts/failover_drill.lua --rto 60
  expect 5 scripts/restore.lua --repair-timeout 5
  (pgaf tests/live/lib/hide.lua "$victim" back)
  expect 0 scripts/restore.lua
  stays_whole "a restore"
}

broken_hypotheses() {
  local name
  for name in lost_writes no_promotion cannot_come_back; do
    echo "== $name"
    "test_$name"
  done
}

drill_tests() {
  local name
  for name in passes_twice_and_swaps interrupted killed_and_restored no_table_is_left; do
    echo "== $name"
    "test_$name"
  done
  for name in doctor impossible_budget degraded_baseline monitor_down; do
    echo "== $name"
    untouched "test_$name"
  done
  rm -f "$WORK/out"
}
