#!/usr/bin/env bash
# time-limit: 300
# A second lab beside the first: comes up, survives the killing of its daemon, goes without a trace, and leaves the
# first one alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

first_bridge=${PGAFRUN_LAB_BRIDGE:-pgafbr0}
first_client=$INCUS_CONF
export PGAFRUN_LAB=pgafrun-lab-test PGAFRUN_LAB_BRIDGE=pgafbr9 PGAFRUN_LAB_ADDRESS=10.177.79.1/24 PGAFRUN_LAB_PORT=18449
export INCUS_CONF=/var/lib/$PGAFRUN_LAB-client

fail() { echo "FAILED: $*"; exit 1; }
check() { local what=$1; shift; "$@" || fail "$what"; echo "ok: $what"; }

daemons() { # the lab's own processes, by their environment
  local pid
  for pid in $(pgrep -x incusd); do
    if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -xF "INCUS_DIR=/var/lib/$PGAFRUN_LAB" >/dev/null; then echo "$pid"; fi
  done
}

reaches_gateway_and_names() {
  local try
  for try in $(seq 50); do
    if incus exec one -- sh -c 'getent hosts two.lxd && apt-get -qq update' </dev/null >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  echo "gave up after $try tries"
  return 1
}

no_trace() {
  local bad=0 path
  for path in "/var/lib/$PGAFRUN_LAB" "$INCUS_CONF" "/sys/class/net/$PGAFRUN_LAB_BRIDGE" "/run/lxc/lock/var/lib/$PGAFRUN_LAB"; do
    if [ -e "$path" ]; then echo "left: $path"; bad=1; fi
  done
  if grep "$PGAFRUN_LAB" /proc/self/mountinfo; then echo "left: mounts"; bad=1; fi
  if nft list ruleset | grep "$PGAFRUN_LAB_BRIDGE"; then echo "left: nft rules"; bad=1; fi
  if pgrep -af "dnsmasq.*$PGAFRUN_LAB_BRIDGE"; then echo "left: dnsmasq"; bad=1; fi
  if [ -n "$(daemons)" ]; then echo "left: processes $(daemons)"; bad=1; fi
  return "$bad"
}

trap './bootstrap lab down >/dev/null 2>&1' EXIT

check "comes up from nothing" ./bootstrap lab
incus launch debian/12 one </dev/null
incus launch lab-tls:debian/12 lab-tls:two </dev/null
check "containers find each other by name, and packages" reaches_gateway_and_names

mapfile -t pids < <(daemons)
[ ${#pids[@]} -ge 3 ] || fail "expected a daemon and two container monitors, found: ${pids[*]}"
kill -KILL "${pids[@]}"
check "comes up over a killed daemon" ./bootstrap lab
check "its containers run again" reaches_gateway_and_names

nft delete chain inet incus "pstrt.$PGAFRUN_LAB_BRIDGE"
check "sets its rules again after a firewall reload" ./bootstrap lab
check "the containers reach the world again" reaches_gateway_and_names

mapfile -t pids < <(daemons)
kill -KILL "${pids[@]}"
check "goes down though its daemon is dead" ./bootstrap lab down
check "leaves no trace" no_trace
check "going down twice is no error" ./bootstrap lab down

check "the first lab's bridge is there" test -e "/sys/class/net/$first_bridge"
check "the first lab's rules are there" nft list chain inet incus "pstrt.$first_bridge"
INCUS_CONF=$first_client check "the first lab answers" incus query /1.0/networks
