#!/usr/bin/env bash
# http.request beside the same loop in C on bare libcurl, against a daemon's unix socket.
#   http_get.sh SOCKET [PATH]        e.g. http_get.sh /var/lib/incus/unix.socket /1.0
set -euo pipefail
socket=${1:?the unix socket to ask is missing}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
read -ra flags < <(pkg-config --cflags --libs libcurl)
cc -std=c11 -D_GNU_SOURCE -O2 -o "$folder/http_get" http_get.c "${flags[@]}"
"${PGAFRUN:-../../build/pgafrun}" http_get.lua "$folder/http_get" "$socket" "${2:-/1.0}"
