#!/usr/bin/env bash
# Kills pgafrun with SIGKILL at a random moment of a drill, runs restore, and looks whether the formation is whole: N times.
#
#   tests/bench/killed_drills.sh INVENTORY [N [FAULT]]
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
inventory=${1:?an inventory}
times=${2:-50}
fault=${3:-container-kill}
pgafrun=${PGAFRUN:-build/pgafrun}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

whole() { "$pgafrun" -i "$inventory" state >/dev/null 2>&1 </dev/null; }

# How long a whole drill takes: the moments are anywhere in it.
until whole; do sleep 1; done
started=$(date +%s%N)
"$pgafrun" -i "$inventory" drill "$fault" >"$output" 2>&1 </dev/null || { cat "$output"; exit 1; }
length=$((($(date +%s%N) - started) / 1000000))
echo "a whole drill takes $length ms"

good=0
for ((i = 1; i <= times; i++)); do
  until whole; do sleep 1; done
  moment=$(((RANDOM * 32768 + RANDOM) % length))
  "$pgafrun" -i "$inventory" drill "$fault" >"$output" 2>&1 </dev/null &
  drill=$!
  sleep "$(awk -v ms="$moment" 'BEGIN { print ms / 1000 }')"
  kill -KILL "$drill" 2>/dev/null || true
  wait "$drill" 2>/dev/null || true
  status=0
  "$pgafrun" -i "$inventory" restore >>"$output" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ] && whole; then
    good=$((good + 1))
  else
    echo "killed at $moment ms: restore ended with $status, and the formation is not whole"
    sed 's/^/    /' "$output"
  fi
done
echo "whole again $good times of $times"
