# shellcheck shell=bash
# The demo: a formation of this machine's own processes, its primary killed, the result, everything removed again.
# PostgreSQL refuses to run as root, so root's demo runs as a system user made for it. Nothing outside DEMO_DIR is
# written: the build is installed there, because that user may not be able to read the checkout.

DEMO_USER=pgafrun-demo
DEMO_TIMERS=() # options of the provisioning that make the fail-over quick enough to watch

demo_main() {
  local started=$SECONDS status=0
  install_packages "${DEPS_BUILD[@]}" util-linux procps
  deps_postgres
  say "building"
  build_main
  exec {DEMO_LOCK}>"$(is_root && echo /run || echo "${XDG_RUNTIME_DIR:-$HOME}")/pgafrun-demo.lock"
  flock -n "$DEMO_LOCK" || die "another demo is running"

  trap demo_clean EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  demo_prepare
  say "provisioning a formation: one monitor, two data nodes"
  demo_run scripts/postgres_ha.lua "${DEMO_TIMERS[@]}"
  say "killing its primary"
  demo_run scripts/failover_drill.lua --rto 30 || status=$?
  say "removing the formation"
  demo_run scripts/destroy.lua --yes && DEMO_GONE=yes || status=$?
  say "the demo took $((SECONDS - started)) s; the drill's verdict is exit code $status"
  return "$status"
}

demo_prepare() {
  if is_root; then
    demo_remove_user # of a demo that was killed
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$DEMO_USER"
  fi
  # Short, for the sockets in it: their paths may have 107 characters.
  DEMO_DIR=$(mktemp -d /tmp/pgafrun-demo.XXXXXX)
  cmake --install build --prefix "$DEMO_DIR/prefix" >/dev/null
  mkdir "$DEMO_DIR/home" "$DEMO_DIR/run"
  if is_root; then chown -R "$DEMO_USER:" "$DEMO_DIR"; fi
}

# demo_run SCRIPT ARGUMENTS...: pgafrun as the demo's user, with none of the caller's environment.
demo_run() {
  local share=$DEMO_DIR/prefix/share/pgafrun script=$1 become=()
  shift
  if is_root; then become=(setpriv --reuid "$DEMO_USER" --regid "$DEMO_USER" --clear-groups --); fi
  (cd "$DEMO_DIR/home" && exec "${become[@]}" env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 \
    TERM="${TERM:-dumb}" HOME="$DEMO_DIR/home" XDG_RUNTIME_DIR="$DEMO_DIR/run" TMPDIR="$DEMO_DIR/run" \
    PGAFRUN_PATH="$share" "$DEMO_DIR/prefix/bin/pgafrun" -i "$share/scripts/inventory/local.lua" "$share/$script" "$@" \
    {DEMO_LOCK}>&-)
}

# Also after Ctrl-C or a failure half-way: the formation's processes end, whatever state they are in.
demo_clean() {
  trap '' INT TERM HUP
  if is_root; then
    demo_remove_user
  elif [ -n "${DEMO_DIR:-}" ] && [ -z "${DEMO_GONE:-}" ]; then
    demo_run scripts/destroy.lua --yes >/dev/null 2>&1 || warn "the formation below $DEMO_DIR could not be removed"
  fi
  if [ -n "${DEMO_DIR:-}" ]; then rm -rf "$DEMO_DIR"; fi
}

demo_remove_user() {
  local tries
  id "$DEMO_USER" >/dev/null 2>&1 || return 0
  for ((tries = 0; tries < 50; tries++)); do
    pkill -KILL -u "$DEMO_USER" || break
    sleep 0.1
  done
  find /tmp -maxdepth 1 -name 'pgafrun-demo.??????' -user "$DEMO_USER" -exec rm -rf {} +
  userdel "$DEMO_USER" 2>/dev/null
}
