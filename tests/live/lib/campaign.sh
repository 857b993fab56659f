#!/usr/bin/env bash
# campaign.sh FOLDER ARGUMENTS...: a campaign on a formation of three data nodes that is made for it, then on the same
# formation with two, and removed again. ./bootstrap campaign calls it. CAMPAIGN_NODES="3" or "2" leaves one out.
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

# Room for some fifty fail-overs: each leaves a segment of its timeline, and pg_rewind copies them all.
three_nodes 2000
status=0
for count in ${CAMPAIGN_NODES:-3 2}; do
  if [ "$count" = 2 ]; then
    expect 0 drop-node "${NODES[2]}" --remove
    sed -i "/{ name = \"${NODES[2]}\" }/d" "$INVENTORY"
  fi
  echo "== $count data nodes"
  code=0
  (pgaf campaign --folder "$FOLDER/$count-nodes" "$@") || code=$?
  [ "$status" -ne 0 ] || status=$code
done
echo "results and reports: $FOLDER"
exit "$status"
