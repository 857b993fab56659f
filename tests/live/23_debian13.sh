#!/usr/bin/env bash
# time-limit: 600
# Nodes of Debian 13, with its PostgreSQL 17, its pg_auto_failover 2.2 and its systemd: made from nothing, unchanged by a
# second run, drift seen and mended, a primary killed and put back.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PGAFRUN:?the program to test}"

WORK=$(mktemp -d /tmp/pgafrun-debian13-test.XXXXXX)
FORMATION=pgaf-deb13
NODES=(pgaf-deb13-1 pgaf-deb13-2)
# shellcheck source=tests/live/lib/inventory.sh
source tests/live/lib/inventory.sh
lab_inventory "i.provider.image, i.postgres.version = 'debian/13', 17"

# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh

clean() {
  (pgaf destroy --yes) >/dev/null 2>&1 </dev/null || echo "the formation could not be removed"
  rm -rf "$WORK"
}
trap clean EXIT

./bootstrap lab image 13

expect 0 postgres_ha
stays_whole "provisioning"
expect 0 postgres_ha
says "nothing changed in"

incus exec "lab:${NODES[1]}" --force-noninteractive -- sh -c 'echo "# by hand" >>/etc/systemd/system/pgautofailover.service' </dev/null
expect 2 postgres_ha --check --diff
says "# by hand"
expect 0 postgres_ha
says "1 change in"

expect 0 doctor
says "PostgreSQL 17."
says "pg_autoctl 2.2"

expect 0 drill container-kill
says PASSED
stays_whole "a drill"
