#!/usr/bin/env bash
# time-limit: 1200
# Images with the packages in them: the first run bakes one, a second formation installs nothing, another list of packages
# is another image, an interrupted baking leaves nothing, two at once make one, only old and superfluous images of ours
# are removed, and without an image the packages are installed on the nodes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

prefix=${PGAFRUN_TEST_PREFIX:-pgaf-live-bake}
work=$(mktemp -d)

fail() { echo "FAILED: $*"; [ ! -f "$work/out" ] || sed 's/^/    /' "$work/out"; exit 1; }
ok() { echo "ok: $*"; }

# inventory FILE LUA: the lab's inventory under names of our own, changed by some Lua.
inventory() {
  cat >"$work/$1.lua" <<END
local i = dofile("$PWD/scripts/inventory/lab.lua")
i.formation = "$prefix"
i.monitor.name = "$prefix-monitor"
i.nodes[1].name, i.nodes[2].name = "$prefix-1", "$prefix-2"
i.provider.bake = true
$2
return i
END
}

# run NAME SCRIPT ARGUMENTS...: its output is in $work/out, its status in $status.
run() {
  local name=$1
  shift
  status=0
  "$PGAFRUN" -i "$work/$name.lua" "$@" >"$work/out" 2>&1 </dev/null || status=$?
}
good() { run "$@"; [ "$status" -eq 0 ] || fail "$*: status $status"; }
said() { grep -F -- "$1" "$work/out" >/dev/null || fail "it did not say: $1"; }
on() { incus exec "$1" --force-noninteractive -- sh -eu; }

# Our images as lines "FINGERPRINT ALIAS PACKAGES", and their number.
images() {
  incus query '/1.0/images?recursion=1' </dev/null | python3 -c '
import json, sys
for image in json.load(sys.stdin):
    if "user.pgafrun.digest" in image["properties"]:
        names = [alias["name"] for alias in image["aliases"]] or ["-"]
        print(image["fingerprint"], names[0], image["properties"]["user.pgafrun.formation"])'
}
# Those that this test has made.
made() { images | grep " $prefix\$" || true; }
builders() { incus list -f csv -c n '^pgafrun-bake-' </dev/null; }
builder_of() { # PID
  local name
  for name in $(builders); do
    if incus config get "$name" user.pgafrun.bake </dev/null | grep -F "\"pid\":$1," >/dev/null; then echo "$name"; fi
  done
}

finish() {
  local status=$? name
  for name in $(incus list -f csv -c n "^$prefix" </dev/null); do incus delete -f "$name" </dev/null & done
  wait
  for name in $(made | cut -d' ' -f1); do incus image delete "$name" </dev/null; done
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Pins of packages that the base image has anyway: each makes another digest.
incus launch debian/12 "$prefix-v" </dev/null >/dev/null
pin() { echo "[\"$1\"] = \"$(on "$prefix-v" <<<"dpkg-query -W -f '\${Version}' $1")\""; }
pin1=$(pin procps) pin2=$(pin netbase) pin3=$(pin iproute2)
incus delete -f "$prefix-v" </dev/null
inventory a "i.postgres.packages = { $pin1 }"
inventory b "i.postgres.packages = { $pin1, $pin2 }"
inventory c "i.postgres.packages = { $pin2 }"
inventory d "i.postgres.packages = { $pin3 }"
inventory none 'i.provider.bake = false'
inventory wrong 'i.postgres.packages = { procps = "0-there-is-none" }'
inventory old "i.postgres.packages = { $pin1 }; i.provider.bake_max_age = 3"

# ---------------------------------------------------------------------- looked at, and nothing made

run a bake --check
[ "$status" -eq 2 ] || fail "bake --check: status $status"
run a postgres_ha --check
[ "$status" -eq 2 ] || fail "postgres_ha --check: status $status"
[ -z "$(made)" ] || fail "an image was baked in check mode"
run none postgres_ha --tags machines # fails: the steps left out are missed
[ -z "$(made)" ] || fail "an image was baked though the inventory wants none"
base=$(incus query /1.0/images/aliases/debian%2F12 </dev/null | grep -o '"target": "[0-9a-f]*"' | cut -d'"' -f4)
[ "$(incus config get "$prefix-1" volatile.base_image </dev/null)" = "$base" ] || fail "not the base image"
good none destroy --yes
ok "check mode bakes nothing, and neither does an inventory with bake = false"

# ---------------------------------------------------------------------- from nothing, and again

good a postgres_ha
said "baked pgafrun/"
[ "$(made | wc -l)" -eq 1 ] || fail "not one image: $(made)"
read -r image alias _ <<<"$(made)"
[ "${alias#pgafrun/}" != "$alias" ] || fail "its alias is $alias"
incus image info "$image" </dev/null | grep -F 'user.pgafrun.packages: openssl=' >/dev/null || fail "the image does not tell its packages"
for node in monitor 1 2; do
  [ "$(incus config get "$prefix-$node" volatile.base_image </dev/null)" = "$image" ] || fail "$node comes from another image"
  # shellcheck disable=SC2016 # that is for the node's shell
  on "$prefix-$node" <<<'cat /etc/machine-id; [ ! -e /etc/ssl/private/ssl-cert-snakeoil.key ]; [ ! -e /usr/sbin/policy-rc.d ]; [ -z "$(pg_lsclusters -h)" ]' >>"$work/machine-ids" || fail "$node has something of the builder's"
done
[ "$(grep -Ec '^[0-9a-f]{32}$' "$work/machine-ids")" -eq 3 ] || fail "machine ids: $(cat "$work/machine-ids")"
[ "$(sort -u "$work/machine-ids" | wc -l)" -eq 3 ] || fail "nodes share a machine id"
[ -z "$(builders)" ] || fail "the builder is still there: $(builders)"
[ "$(on "$prefix-monitor" <<<hostname)" = "$prefix-monitor" ] || fail "the builder that became the monitor has another name"
ok "a formation from nothing comes from an image baked for it, and its nodes share nothing"

good a destroy --yes
good a -v postgres_ha
! grep -E ' (image|packages|no default cluster) ' "$work/out" | grep -E ' changed ' || fail "something was baked or installed"
[ "$(made | cut -d' ' -f1)" = "$image" ] || fail "another image: $(made)"
ok "a second formation installs nothing"

# ---------------------------------------------------------------------- interrupted

# killed_when STATE INVENTORY SECONDS: kills a baking some time after its builder has this state.
killed_when() {
  local pid try name
  "$PGAFRUN" -i "$work/$2.lua" bake >"$work/out" 2>&1 </dev/null &
  pid=$!
  for try in $(seq 1200); do
    name=$(builder_of "$pid")
    if [ -n "$name" ] && [ "$(incus list -f csv -c s "^$name\$" </dev/null)" = "$1" ]; then break; fi
    kill -0 "$pid" 2>/dev/null || fail "it ended before its builder was $1"
    sleep 0.1
  done
  sleep "$3"
  kill -9 "$pid" 2>/dev/null || fail "it ended within $3 s after its builder was $1"
  wait "$pid" 2>/dev/null || true
  [ -n "$name" ] || fail "no builder after $try looks"
}

# The server may be at removing one still.
leftovers_gone() {
  local try
  for try in $(seq 100); do
    if [ -z "$(builders)" ]; then break; fi
    sleep 0.2
  done
  [ -z "$(builders)" ] || fail "a builder is left after $try looks: $(builders)"
  ! images | grep ' - ' || fail "an image without an alias is left"
}

killed_when RUNNING b 3
[ -n "$(builders)" ] || fail "the killed baking left no builder"
# another list of packages: the left-over is removed all the same
good c bake
said "removing the builder"
leftovers_gone
killed_when RUNNING b 0
good b bake
said "removing the builder"
leftovers_gone
[ "$(made | wc -l)" -eq 3 ] || fail "not three images: $(made)"
[ "$(made | cut -d' ' -f2 | sort -u | wc -l)" -eq 3 ] || fail "lists of packages share an image"
ok "another list of packages is another image; what a killed baking leaves is removed, and named"

# ---------------------------------------------------------------------- two at once

"$PGAFRUN" -i "$work/d.lua" bake >"$work/first" 2>&1 </dev/null &
first=$!
good d bake
wait "$first" || { cat "$work/first"; fail "the first of two"; }
[ "$(made | wc -l)" -eq 4 ] || fail "not four images: $(made)"
leftovers_gone
ok "two at once make one image"

# ---------------------------------------------------------------------- removed

good a bake --prune
[ "$(made | cut -d' ' -f1)" = "$image" ] || fail "wanted was $image alone, there are: $(made)"
incus image info debian/12 </dev/null >/dev/null || fail "an image that is not ours was removed"
incus image set-property "$image" user.pgafrun.baked_at "$(($(date +%s) - 4 * 86400))" </dev/null
good a bake
! grep -F ' s  changed ' "$work/out" || fail "an image of four days was baked anew"
good old bake
new=$(made | cut -d' ' -f1)
[ "$(made | wc -l)" -eq 1 ] || fail "the old one is still there: $(made)"
[ "$new" != "$image" ] || fail "an image older than bake_max_age was kept"
incus image set-property "$new" user.pgafrun.baked_at 1 </dev/null
good a postgres_ha --prune-images
[ -z "$(made)" ] || fail "too old, and still there: $(made)"
ok "only superfluous and old images of ours are removed, and an old one is baked anew"

# ---------------------------------------------------------------------- could not be baked

good a destroy --yes
run wrong postgres_ha
[ "$status" -eq 1 ] || fail "a version that does not exist: status $status"
[ "$(grep -c 'could not be baked: the packages are installed on each node' "$work/out")" -eq 1 ] || fail "not told, or not once"
! grep -q 'changed *image' "$work/out" || fail "a baking that failed is told as a change"
said "FAILED: packages on $prefix-1"
good wrong destroy --yes
leftovers_gone
ok "what cannot be baked is told once, and installed on each node instead"
