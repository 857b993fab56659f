#!/usr/bin/env bash
# time-limit: 1500
# Where secrets must not turn up: in nothing that runs print (for people, for programs, on a terminal, in the log, with
# -vv and --diff), in no JUnit file, report, journal or other file that they leave, and in no process's arguments, which
# are watched all through the runs. The application's password comes from the environment, a file and a vault; the
# passwords that a formation makes for itself may only be in its own private files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

TEST_USER=pgafrun-secrets
PREFIX=${PGAFRUN_TEST_PREFIX:-pgaf-live-secrets}
WORK=$(mktemp -d /tmp/pgafrun-secrets.XXXXXX)
OUT=$WORK/out            # what runs print
PATTERNS=$WORK/patterns  # what is looked for, a line each; never in an argument of ours either
SAMPLER=
RUN=0

fail() {
  echo "FAILED: $*"
  [ ! -f "$OUT/$RUN.out" ] || tail -n 40 "$OUT/$RUN.out" "$OUT/$RUN.err" | sed 's/^/    /'
  exit 1
}
ok() { echo "ok: $*"; }

remove_user() {
  local tries
  id "$TEST_USER" >/dev/null 2>&1 || return 0
  for ((tries = 0; tries < 50; tries++)); do
    pkill -KILL -u "$TEST_USER" || break
    sleep 0.1
  done
  find /dev/shm -user "$TEST_USER" -delete # of servers that were killed
  userdel "$TEST_USER"
}

finish() {
  local status=$? name
  [ -z "$SAMPLER" ] || kill -- "-$SAMPLER" 2>/dev/null || true
  for name in $(incus list -f csv -c n "^$PREFIX" </dev/null); do incus delete -f "$name" </dev/null & done
  remove_user
  wait
  if [ "$status" -eq 0 ] || [ -z "${PGAFRUN_TEST_KEEP:-}" ]; then rm -rf "$WORK"; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---------------------------------------------------------------------- secrets, and the forms they may turn up in

# new_secret NAME: a password with characters that SQL, URIs, JSON, XML and shells quote.
new_secret() {
  local core
  core=Zs$(openssl rand -hex 12)
  printf -v "$1" '%s' "$core'\"+/%& <\$x>"
  look_for "$core"
}

# look_for TEXT: as it is, in hexadecimal, and in base64 wherever it begins in the encoded text.
look_for() {
  local before encoded
  {
    printf '%s\n' "$1"
    printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'
    echo
    for before in '' a aa; do
      encoded=$(printf '%s%s' "$before" "$1" | base64 -w 0)
      printf '%s\n' "${encoded:4:${#encoded}-8}"
    done
  } >>"$PATTERNS"
}

# vault_of PASSWORD TEXT: an Ansible vault (format 1.1).
vault_of() {
  local salt keys cipher mac size pad text
  salt=$(openssl rand -hex 32)
  keys=$(openssl kdf -keylen 80 -kdfopt digest:SHA256 -kdfopt "pass:$1" -kdfopt "hexsalt:$salt" -kdfopt iter:10000 PBKDF2 | tr -d ':\n')
  size=$(printf '%s' "$2" | wc -c)
  pad=$((16 - size % 16))
  cipher=$({ printf '%s' "$2"; for ((i = 0; i < pad; i++)); do printf '%b' "\\x$(printf %02x "$pad")"; done; } |
    openssl enc -aes-256-ctr -K "${keys:0:64}" -iv "${keys:128:32}" | od -An -v -tx1 | tr -d ' \n')
  # shellcheck disable=SC2001 # not one character by one
  mac=$(printf '%b' "$(sed 's/../\\x&/g' <<<"$cipher")" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:${keys:64:64}" | sed 's/.* //')
  text=$(printf '%s\n%s\n%s' "$salt" "$mac" "$cipher" | od -An -v -tx1 | tr -d ' \n')
  echo "\$ANSIBLE_VAULT;1.1;AES256"
  fold -w 80 <<<"$text"
}

mkdir "$OUT" "$WORK/private"
install -m 0600 /dev/null "$PATTERNS"
new_secret FROM_ENVIRONMENT
new_secret FROM_FILE
new_secret FROM_VAULT
new_secret ON_LAB
new_secret VAULT_PASSWORD
printf '%s\n' "$FROM_FILE" >"$WORK/private/app-password"
printf '%s\n' "$VAULT_PASSWORD" >"$WORK/private/vault-password"
# in YAML's single quotes, a single quote is written twice
vault_of "$VAULT_PASSWORD" "app_password: '${FROM_VAULT//\'/\'\'}'"$'\n' >"$WORK/private/vault.yml"
chmod 600 "$WORK"/private/*

# ---------------------------------------------------------------------- a user of its own, on this machine's processes

remove_user # of a test that was killed
useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$TEST_USER"
cp "$PGAFRUN" "$WORK/pgafrun"
mkdir -p "$WORK/share" "$WORK/state-home" "$WORK/tmp" "$WORK/results"
cp -r stdlib scripts "$WORK/share/"
mkdir -p "$WORK/share/tests/live"
cp -r tests/live/lib "$WORK/share/tests/live/"

# inventory NAME LUA: one whose application has this password.
inventory() {
  cat >"$WORK/$1.lua" <<END
local secret = require "pgaf.secret"
return {
  environment = "production",
  formation = "secrets-local",
  provider = { kind = "local", root = "$WORK/f" },
  monitor = { name = "monitor", port = 6740, address = "127.0.74.1" },
  nodes = {
    { name = "node-1", port = 6741, address = "127.0.74.2" }, { name = "node-2", port = 6742, address = "127.0.74.3" },
  },
  postgres = { source = "distribution", version = 15, wal_keep_size = "64MB" },
  timers = {
    health_check_period = 500, health_check_timeout = 1500, health_check_max_retries = 1,
    health_check_retry_delay = 200, node_considered_unhealthy_timeout = 2500, primary_demote_timeout = 4001,
    network_partition_timeout = 1,
  },
  application = { user = "app", database = "appdb", password = $2, networks = { "127.0.0.1/32" } },
  operator_networks = { "127.0.0.1/32" },
}
END
}
inventory environment 'secret.env "APP_PASSWORD"'
inventory file "secret.file \"$WORK/private/app-password\""
inventory vault "secret.vault { file = \"$WORK/private/vault.yml\", key = \"app_password\" }"
chmod -R go+rX "$WORK/share" "$WORK/pgafrun" "$WORK"/*.lua
chmod 755 "$WORK"
chown -R "$TEST_USER:" "$WORK/state-home" "$WORK/tmp" "$WORK/results" "$WORK/private"
mkdir "$WORK/f"
chown "$TEST_USER:" "$WORK/f"

# pgaf ARGUMENTS...: the program as that user; secrets come by the environment, which only the user can read.
pgaf() {
  unset INCUS_CONF XDG_RUNTIME_DIR
  cd "$WORK/share"
  export APP_PASSWORD=$FROM_ENVIRONMENT HOME=$WORK/tmp TMPDIR=$WORK/tmp XDG_STATE_HOME=$WORK/state-home \
    PGAFRUN_PATH=$WORK/share LANG=C.UTF-8
  exec setpriv --reuid "$TEST_USER" --regid "$TEST_USER" --clear-groups -- "$WORK/pgafrun" "$@"
}

# run STATUS ARGUMENTS...: what it prints is kept, and looked through at the end.
run() {
  local wanted=$1 status=0
  shift
  RUN=$((RUN + 1))
  (pgaf "$@") >"$OUT/$RUN.out" 2>"$OUT/$RUN.err" </dev/null || status=$?
  [ "$status" -eq "$wanted" ] || fail "run $RUN ($*) ended with $status, not $wanted"
}
said() { grep -F -- "$1" "$OUT/$RUN.out" >/dev/null || fail "run $RUN did not say: $1"; }

# ---------------------------------------------------------------------- the process list, all the time

# Every argument of every process of the machine, once. Its own group: it is ended with all of its parts.
set -m
while :; do cat /proc/[0-9]*/cmdline 2>/dev/null || true; done | tr '\0' '\n' | awk '!seen[$0]++ { print; fflush() }' \
  >"$WORK/arguments" &
SAMPLER=$(jobs -p %%)
set +m
# A process that lives for a short while is seen: the watch works.
MARK=pgafrun-mark-$RANDOM$RANDOM
bash -c 'sleep 0.3; :' "$MARK"
for ((i = 0; i < 50; i++)); do
  ! grep -F "$MARK" "$WORK/arguments" >/dev/null || break
  sleep 0.1
done
[ "$i" -lt 50 ] || fail "the process list is not watched"

# ---------------------------------------------------------------------- runs

# Interrupted while it makes the clusters.
RUN=$((RUN + 1))
(pgaf -vv --log-format json -i "$WORK/environment.lua" postgres_ha --diff --junit "$WORK/results/interrupted.xml") \
  >"$OUT/$RUN.out" 2>"$OUT/$RUN.err" </dev/null &
pid=$!
for ((i = 0; i < 600; i++)); do
  ! grep -E ' changed +certificate ' "$OUT/$RUN.out" >/dev/null || break
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.05
done
kill -INT "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -eq 130 ] || fail "interrupted, it ended with $status"
said "interrupted in: "
xmllint --noout "$WORK/results/interrupted.xml"
grep -E '<error type="interrupted"|not reached: the run ended before' "$WORK/results/interrupted.xml" >/dev/null ||
  fail "the JUnit file does not tell of the interruption"

run 0 -vv --log-format json -i "$WORK/environment.lua" postgres_ha --diff --junit "$WORK/results/made.xml"
xmllint --noout "$WORK/results/made.xml"
said " changes in "
run 0 -i "$WORK/environment.lua" postgres_ha --json --diff
ok "a formation with a password from the environment"

# Another password: the change is told, and its values are not.
run 2 -vv -i "$WORK/file.lua" postgres_ha --check --diff --junit "$WORK/results/check.xml"
xmllint --noout "$WORK/results/check.xml"
said "role app: password: differs, <secret>"
said "1 would change, nothing was touched"
run 2 -vv --log-format json -i "$WORK/file.lua" postgres_ha --check --diff --json
run 0 -vv -i "$WORK/file.lua" postgres_ha --diff --json
run 0 -i "$WORK/file.lua" postgres_ha
said "nothing changed in "
ok "another password from a file is told as a change, without its values"

run 0 -vv -i "$WORK/vault.lua" postgres_ha --vault-password-file "$WORK/private/vault-password" --diff
said "role app: password: differs, <secret>"
ok "another password from a vault"

# On a terminal.
RUN=$((RUN + 1))
{
  declare -f pgaf
  echo "WORK=$WORK TEST_USER=$TEST_USER; pgaf -v -i $WORK/file.lua postgres_ha --diff"
} >"$WORK/terminal.sh"
FROM_ENVIRONMENT=$FROM_ENVIRONMENT TERM=xterm script -qec "bash $WORK/terminal.sh" "$WORK/typescript" \
  >"$OUT/$RUN.out" 2>"$OUT/$RUN.err" </dev/null || fail "on a terminal it ended with $?"
grep -F $'\e[' "$OUT/$RUN.out" >/dev/null || fail "it did not know that it was on a terminal"
said "role app: password: differs, <secret>"
ok "on a terminal"

# What looks at it, and what breaks it.
run 0 -vv -i "$WORK/file.lua" inventory
run 0 -vv -i "$WORK/file.lua" inventory --json
run 0 -vv -i "$WORK/file.lua" state --json
run 0 -vv --log-format json -i "$WORK/file.lua" failover_drill --rto 60 --i-know-this-is secrets-local \
  --json "$WORK/results/drill.json"
ok "a drill"

# A failure: the file is there, and cannot be read.
chmod 000 "$WORK/private/app-password"
run 64 -vv -i "$WORK/file.lua" postgres_ha --json --junit "$WORK/results/refused.xml"
xmllint --noout "$WORK/results/refused.xml"
grep -F 'app-password' "$WORK/results/refused.xml" >/dev/null || fail "the JUnit file does not tell why nothing ran"
chmod 600 "$WORK/private/app-password"
ok "a failure"

# ---------------------------------------------------------------------- real containers

cat >"$WORK/lab.lua" <<END
local i = dofile("$PWD/scripts/inventory/lab.lua")
i.formation = "$PREFIX"
i.monitor.name = "$PREFIX-monitor"
i.nodes[1].name, i.nodes[2].name = "$PREFIX-1", "$PREFIX-2"
i.application.password = require("pgaf.secret").env "APP_PASSWORD"
return i
END
RUN=$((RUN + 1))
status=0
XDG_STATE_HOME=$WORK/state-home APP_PASSWORD=$ON_LAB "$PGAFRUN" -vv --log-format json -i "$WORK/lab.lua" postgres_ha \
  --diff --junit "$WORK/results/lab.xml" >"$OUT/$RUN.out" 2>"$OUT/$RUN.err" </dev/null || status=$?
[ "$status" -eq 0 ] || fail "on containers: $status"
xmllint --noout "$WORK/results/lab.xml"

# ---------------------------------------------------------------------- what the formations keep for themselves

# shellcheck disable=SC2043 # one at a time
for file in "$WORK/f/monitor/home/"{monitor,replication,probe}_password; do look_for "$(cat "$file")"; done
for name in monitor replication probe; do
  look_for "$(incus exec "$PREFIX-monitor" --force-noninteractive -- cat "/var/lib/postgresql/pgaf/home/${name}_password" </dev/null)"
done
for name in monitor 1 2; do
  incus exec "$PREFIX-$name" --force-noninteractive -- sed -n 2p /var/lib/postgresql/pgaf/tls/server.key </dev/null >>"$PATTERNS"
done
for key in "$WORK/f/monitor/ca/"*.key "$WORK"/f/*/tls/server.key; do printf '%s\n' "$(sed -n 2p "$key")" >>"$PATTERNS"; done
! grep -E '^.{0,11}$' "$PATTERNS" >/dev/null || fail "a pattern is too short to mean anything"

# ---------------------------------------------------------------------- looked through

# holders FOLDER...: the files that hold one of the secrets.
holders() { grep -rlaF -f "$PATTERNS" "$@" 2>/dev/null | grep -vxF "$PATTERNS" || true; }

kill -- "-$SAMPLER" 2>/dev/null || true
wait "$SAMPLER" 2>/dev/null || true
SAMPLER=
[ "$(wc -l <"$WORK/arguments")" -gt 200 ] || fail "hardly any process was seen"
grep -E '^(postgres|psql|pg_autoctl)$' "$WORK/arguments" >/dev/null || fail "not even psql was seen"
found=$(grep -aF -f "$PATTERNS" "$WORK/arguments" || true)
[ -z "$found" ] || fail "in the arguments of a process: $found"
ok "$(wc -l <"$WORK/arguments") arguments of processes hold no secret"

for ((i = 1; i <= RUN; i++)); do [ -s "$OUT/$i.out" ] || [ -s "$OUT/$i.err" ] || fail "run $i printed nothing"; done
found=$(holders "$OUT" "$WORK/typescript" "$WORK/results")
[ -z "$found" ] || fail "told: $found"
ok "nothing that $RUN runs printed or reported holds a secret"

# The patterns find what is there: the three files that were made to hold secrets, less the vault, which is encrypted.
found=$(holders "$WORK/private" | LC_ALL=C sort | tr '\n' ' ')
[ "$found" = "$WORK/private/app-password $WORK/private/vault-password " ] || fail "the search does not work: $found"

find "$WORK/state-home" -name journal | grep . >/dev/null || fail "the drill left no journal"
found=$(holders "$WORK/state-home" "$WORK/tmp" "$WORK/share" "$WORK"/*.lua)
[ -z "$found" ] || fail "left in $found"
left=$(find /tmp /var/tmp /dev/shm /run -xdev -newer "$WORK/pgafrun" -user "$TEST_USER" -type f ! -path "$WORK/*" \
  ! -path '/dev/shm/PostgreSQL.*' 2>/dev/null || true) # those are the servers' shared memory
[ -z "$left" ] || fail "files left outside of their folder: $left"

# Of the nodes' files only these hold a password or key of the formation's own, and they are private.
while read -r file; do
  case ${file#"$WORK"/f/} in
    */home/*_password | */home/.pgpass | */ca/*.key | */tls/server.key | */pg_autoctl.cfg) ;;
    */pg/data/postgresql-auto-failover*.conf) ;;
    *) fail "$file holds a secret" ;;
  esac
  [ "$(stat -c %a "$file")" = 600 ] || fail "$file is open: $(stat -c %a "$file")"
done < <(holders "$WORK/f")
app=$(mktemp "$WORK/app.XXXXXX")
head -n 25 "$PATTERNS" >"$app" # the application's, and the vault's
found=$(grep -rlaF -f "$app" "$WORK/f" || true)
[ -z "$found" ] || fail "the application's password is on a node: $found"
ok "the nodes of this machine keep their own passwords in private files, and the application's nowhere"

# in_container NAME <PATTERNS: mode and name of each file that holds one.
in_container() {
  # shellcheck disable=SC2016 # for the container's shell
  incus exec "$1" --force-noninteractive -- sh -c \
    'grep -rlaF -f - /etc /var /root /home /tmp 2>/dev/null | while read -r file; do stat -c "%a %n" "$file"; done'
}

for name in "$PREFIX-monitor" "$PREFIX-1" "$PREFIX-2"; do
  # a file of ours shows that the search works
  head -n 1 "$app" | incus exec "$name" --force-noninteractive -- sh -c 'umask 077; cat >/root/control'
  found=$(in_container "$name" <"$app")
  [ "$found" = "600 /root/control" ] || fail "the application's password is in $name: $found"
  found=$(in_container "$name" <"$PATTERNS")
  grep -E '/tls/server.key$' <<<"$found" >/dev/null || fail "the search in $name does not work: $found"
  ! grep -v '^600 ' <<<"$found" || fail "open to others in $name: $found"
  incus config show "$name" </dev/null >"$WORK/configuration"
  grep -F "user.pgaf.formation: $PREFIX" "$WORK/configuration" >/dev/null || fail "no configuration of $name"
  ! grep -qF -f "$PATTERNS" "$WORK/configuration" || fail "in the configuration of $name"
done
found=$(grep -rlaF -f "$PATTERNS" --exclude-dir=storage-pools --exclude-dir=images "${INCUS_CONF%-client}" || true)
[ -z "$found" ] || fail "in the files of Incus itself: $found"
ok "containers keep them in private files too, and Incus knows nothing of them"
