#!/usr/bin/env bash
# time-limit: 900
# A formation from an Ansible inventory as it is, with group_vars, host_vars and a vault, on real containers: it comes up,
# a second run and an inventory of ours that says the same find nothing to change, and the vault's password is seen nowhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

prefix=${PGAFRUN_TEST_PREFIX:-pgaf-live-ansible}
work=$(mktemp -d)
export XDG_STATE_HOME=$work/state
unset XDG_RUNTIME_DIR
secret=only-for-the-lab

fail() {
  echo "FAILED: $*"
  [ ! -f "$work/out" ] || tail -n 60 "$work/out" | sed 's/^/    /'
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

# The inventory that comes with pgafrun, with names of its own.
cp -r scripts/inventory/ansible "$work/inventory"
mv "$work/inventory/host_vars/pgaf-lab-2.yml" "$work/inventory/host_vars/$prefix-2.yml"
grep -rl pgaf-lab "$work/inventory" | xargs sed -i "s/pgaf-lab/$prefix/g"
(umask 077 && echo changeme-DEV-ONLY >"$work/password")
lab=$work/inventory/lab.yml

cat >"$work/twin.lua" <<END
return {
  environment = "lab", formation = "$prefix",
  provider = { kind = "incus", remote = "lab", image = "debian/12" },
  monitor = { name = "$prefix-monitor" },
  nodes = { { name = "$prefix-1" }, { name = "$prefix-2", candidate_priority = 40 } },
  postgres = { version = 15, source = "distribution" },
  application = { user = "app", database = "appdb", password = "$secret", networks = { "10.177.64.0/24" } },
  operator_networks = { "10.177.64.0/24" },
}
END

# run EXPECTED_STATUS ARGUMENTS...
run() {
  local wanted=$1 status=0
  shift
  "$PGAFRUN" "$@" >"$work/out" 2>&1 </dev/null || status=$?
  ! grep -F "$secret" "$work/out" >/dev/null || fail "the vault's password is in the output of: $*"
  [ "$status" = "$wanted" ] || fail "exit code $status instead of $wanted: $*"
}
theirs() { run "$1" "$2" -i "$lab" --vault-password-file "$work/password" "${@:3}"; }

theirs 0 inventory --json --strict
grep -F "$work/inventory/host_vars/$prefix-2.yml:1" "$work/out" >/dev/null || fail "a value has no origin"
theirs 0 inventory --graph
grep -F -- "--@replicas:" "$work/out" >/dev/null || fail "the graph has no group of theirs"
ok "it is read without a remark"

(umask 077 && echo another-one >"$work/wrong")
run 64 postgres_ha -i "$lab" --vault-password-file "$work/wrong"
chmod 644 "$work/password"
theirs 64 postgres_ha
chmod 600 "$work/password"
[ -z "$(incus list -f csv -c n "^$prefix" </dev/null)" ] || fail "something was made with a wrong password"
ok "a wrong password, and one that others can read, are refused before anything is made"

theirs 0 postgres_ha
theirs 0 state --json
grep -A12 "\"name\": \"$prefix-2\"" "$work/out" | grep '"candidate_priority": 40' >/dev/null ||
  grep -B12 "\"name\": \"$prefix-2\"" "$work/out" | grep '"candidate_priority": 40' >/dev/null ||
  fail "the host variable did not arrive at the monitor"
ok "the formation is whole"

theirs 0 postgres_ha --check
run 0 postgres_ha -i "$work/twin.lua" --check
ok "neither a second run nor an inventory of ours that says the same would change anything"

theirs 2 postgres_ha --check -e health_check_period=4000
ok "an extra variable of theirs counts"

theirs 0 destroy --yes
[ -z "$(incus list -f csv -c n "^$prefix" </dev/null)" ] || fail "something is left"
ok "all is gone"
