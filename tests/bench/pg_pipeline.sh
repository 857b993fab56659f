#!/usr/bin/env bash
# Connection:pipeline beside the same loop in C on bare libpq: builds that loop, then runs pg_pipeline.lua.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
read -ra flags < <(pkg-config --cflags --libs libpq)
cc -std=c11 -D_GNU_SOURCE -O2 -o "$folder/pg_pipeline" pg_pipeline.c "${flags[@]}"
"${PGAFRUN:-../../build/pgafrun}" pg_pipeline.lua "$folder/pg_pipeline"
