# shellcheck shell=bash
# Every fault of the catalogue on real containers of the lab: three data nodes, each with a disk of its own; then two.

# campaign_main FOLDER CAMPAIGN-ARGUMENTS...: results and reports are kept in FOLDER.
campaign_main() {
  local folder=${1:-build/campaign}
  [ $# -eq 0 ] || shift
  is_root || die "the campaign needs root: it mounts a disk for each node"
  deps_main
  build_main
  (lab_main up)
  mkdir -p "$folder"
  PGAFRUN=$PWD/build/pgafrun PGAFRUN_PATH=$PWD INCUS_CONF=$LAB_CLIENT tests/live/lib/campaign.sh "$(readlink -f "$folder")" "$@"
}
