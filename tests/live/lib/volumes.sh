# shellcheck shell=bash
# Data nodes with a small disk of their own: an ext4 file system in a file, mounted on this machine and handed to the
# container. The caller sets WORK, and INCUS_CONF is the lab's.

VOLUME=/srv/pgafrun # where the node has it

# volume NODE MEGABYTES: the container is there; its data has not been made.
volume() {
  local file=$WORK/$1.ext4 folder=$WORK/$1.disk
  truncate -s "$2M" "$file"
  mkfs.ext4 -q -E nodiscard "$file"
  mkdir "$folder"
  mount -o loop "$file" "$folder"
  incus config device add "lab:$1" data disk source="$folder" path="$VOLUME" shift=true >/dev/null </dev/null
}

# volumes_gone: after the containers.
volumes_gone() {
  local folder
  for folder in "$WORK"/*.disk; do
    [ ! -d "$folder" ] || umount "$folder"
  done
}
