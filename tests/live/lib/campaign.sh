#!/usr/bin/env bash
# campaign.sh FOLDER ARGUMENTS...: a campaign on a formation made for it, and removed again. ./bootstrap campaign calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
: "${PGAFRUN:?the program}" "${INCUS_CONF:?the client configuration of the lab}"

FOLDER=$1
shift
WORK=$(mktemp -d /tmp/pgafrun-campaign.XXXXXX)
export WORK
export FORMATION=pgaf-campaign
# shellcheck source=tests/live/lib/three_nodes.sh
source tests/live/lib/three_nodes.sh
# shellcheck source=tests/live/lib/drill.sh
source tests/live/lib/drill.sh
trap three_nodes_gone EXIT

three_nodes 700
status=0
(pgaf campaign --folder "$FOLDER" "$@") || status=$?
echo "results and reports: $FOLDER"
exit "$status"
