# shellcheck shell=bash
# `watch` in a real terminal, beside whatever is done to a formation: what its screen showed at each moment, what --json
# told into a pipe, and what is left of the terminal afterwards. The caller has what tests/live/lib/drill.sh wants, and
# that sourced.

WATCH_TERMINALS=0
WATCH_BESIDE=() # processes in the background

pane() { tmux -u -S "$WORK/tmux.$WATCH_TERMINALS" "$@"; }

# In the pane a shell, which keeps the terminal's modes and the exit code of what it ran.
watch_opens() { # COLUMNS ROWS
  WATCH_TERMINALS=$((WATCH_TERMINALS + 1))
  rm -f "$WORK/watch.status"
  cat >"$WORK/watch.shell" <<END
stty -g >$WORK/watch.before
sh -c 'echo \$\$ >$WORK/watch.pid; exec "$PGAFRUN" -i $INVENTORY watch'
echo \$? >$WORK/watch.status
stty -g >$WORK/watch.after
echo the-shell-is-back
exec sleep 1000
END
  pane -f /dev/null new-session -d -s watch -x "$1" -y "$2" sh "$WORK/watch.shell"
}

# Idempotent; also for a test that failed in the middle.
watch_closes() {
  [ "$WATCH_TERMINALS" -eq 0 ] || pane kill-server >/dev/null 2>&1 || true
  if [ ${#WATCH_BESIDE[@]} -gt 0 ]; then kill "${WATCH_BESIDE[@]}" 2>/dev/null || true; fi
  WATCH_BESIDE=()
}

# shows PATTERN: waits until a line of the screen matches.
shows() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    pane capture-pane -p -t watch >"$WORK/screen" 2>/dev/null || true
    ! grep -qE -- "$1" "$WORK/screen" || return 0
    sleep 0.1
  done
  cp "$WORK/screen" "$WORK/out"
  fail "the screen never shows: $1"
}

# Ended with that status, and the terminal is as it was: its modes, the cursor, the screen of before.
watch_ended() {
  shows the-shell-is-back
  [ "$(cat "$WORK/watch.status")" = "$1" ] || fail "watch ended with $(cat "$WORK/watch.status"), not $1"
  cmp "$WORK/watch.before" "$WORK/watch.after" || fail "the terminal's modes were not put back"
  [ "$(pane display-message -p -t watch '#{alternate_on} #{cursor_flag}')" = "0 1" ] ||
    fail "the screen or the cursor was not put back"
  watch_closes
}

record() {
  while [ -d "/proc/$1" ]; do
    pane capture-pane -p -t watch >>"$WORK/screens" 2>/dev/null || true
    sleep 0.2
  done
}

# watch_begins: from now on all that the screen shows is kept, and what --json tells.
watch_begins() {
  watch_opens 120 30
  shows "whole, writes go to ${NODES[0]}"
  shows "^${NODES[1]} +secondary +secondary +good +[0-9]+ +[0-9A-F]+/[0-9A-F]+ .* (quorum|sync) +running"
  (pgaf scripts/watch.lua --json) >"$WORK/watch.json" 2>"$WORK/watch.errors" </dev/null &
  WATCH_JSON=$!
  record "$$" &
  WATCH_BESIDE=("$!" "$WATCH_JSON")
}

shown() {
  grep -qE -- "$1" "$WORK/screens" || fail "no screen showed: $1"
}

told() {
  grep -qE -- "$1" "$WORK/watch.json" || { cp "$WORK/watch.json" "$WORK/out"; fail "--json never told: $1"; }
}

# What was seen since, in a time in which each node was killed once, and the monitor was switched off.
watch_saw_fail_overs() {
  local name
  whole
  shows "  whole, writes go to"
  kill -INT "$WATCH_JSON"
  wait "$WATCH_JSON" || true
  kill "${WATCH_BESIDE[0]}"
  WATCH_BESIDE=()
  for name in "${NODES[@]}"; do
    shown "whole, writes go to $name"
    shown "^$name +primary +(draining|demote_timeout)"
    shown "^$name +[a-z_]+ +(prepare_promotion|stop_replication|wait_primary)"
    shown "^$name .* stopped"
    shown "! $name does not answer since"
    shown "$name  container stopped"
    told "\"node\":\"$name\".*\"what\":\"container\"|\"what\":\"container\".*\"node\":\"$name\""
  done
  shown "monitor $MONITOR  away since [0-9:]+ \\(.*\\), it is stopped"
  shown "  state unknown, writes go to"
  told '"what":"monitor"'
  told 'wait_primary'
  if grep -E "attempt to|traceback|\[internal" "$WORK/screens" "$WORK/watch.errors"; then
    fail "a mistake of the program was told"
  fi
  [ "$(head -n 1 "$WORK/watch.json" | "$PGAFRUN" -e '
    local all = require("pgafrun.json").decode(io.read "l")
    print(all.what, #all.nodes)')" = $'formation\t2' ] || fail "the first object of --json is not the formation"
}

# Keys, another size, and whatever ends it.
watch_in_hand() {
  local signal
  pane resize-window -t watch -x 60 -y 24
  shows "^[^ ]*${NODES[0]: -2:1}[12] +primary +good" # the end of a long name, which tells them apart
  shows "^  running +tli [0-9]+ +[0-9A-F]+/[0-9A-F]+ +lag - +primary"
  [ "$(wc -L <"$WORK/screen")" -lt 60 ] || fail "a line is longer than the terminal"
  pane send-keys -t watch j Enter
  shows "^  server +(standby|writable), timeline"
  pane send-keys -t watch q
  watch_ended 0
  for signal in TERM HUP; do
    watch_opens 80 24
    shows "whole, writes go to"
    kill "-$signal" "$(cat "$WORK/watch.pid")"
    watch_ended $((128 + $(kill -l "$signal")))
  done
}

# For pipes and people in a hurry.
watch_once() {
  expect 64 scripts/watch.lua
  says "--once"
  expect 0 scripts/watch.lua --once
  says "  whole, writes go to ${NODES[0]}"
  if grep -q $'\e' "$WORK/out"; then fail "escapes in a pipe"; fi
  grep -Eq "^${NODES[0]} +primary +primary +good +[0-9]+ +[0-9A-F]+/[0-9A-F]+ +- +primary +running" "$WORK/out" ||
    fail "the primary's line is another"
}
