#!/usr/bin/env bash
# What a drill reports beside what an independent client measured: kills the primary's container N times, and prints the
# seconds without writes as both have them. PGPASSWORD is the application's.
#
#   tests/bench/rto_client.sh INVENTORY [N]
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
inventory=${1:?an inventory}
times=${2:-1}
pgafrun=${PGAFRUN:-build/pgafrun}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
read -ra flags < <(pkg-config --cflags --libs libpq)
cc -std=c11 -D_GNU_SOURCE -O2 -o "$work/client" tests/bench/rto_client.c "${flags[@]}"

field() { python3 -c 'import json, sys; print(eval(sys.argv[1], {"r": json.load(open(sys.argv[2]))}))' "$1" "$2"; }
named() { # ROLE: the node that reports it
  field "next(n['name'] for n in r['nodes'] if n['reported'] == '$1')" "$work/state.json"
}
conninfo() { # NODE
  local address
  address=$(incus list "^$1\$" -f csv -c 4 </dev/null | sed 's/ .*//')
  echo "host=$address user=$(field "r['uri'].split('//')[1].split('@')[0]" "$work/state.json")" \
    "dbname=$(field "r['database']" "$work/state.json") sslmode=verify-full sslrootcert=$work/ca.crt" \
    "connect_timeout=2 tcp_user_timeout=2000"
}

for ((i = 1; i <= times; i++)); do
  until "$pgafrun" -i "$inventory" state --json >"$work/state.json" 2>/dev/null </dev/null; do sleep 1; done
  primary=$(named primary) standby=$(named secondary)
  [ -e "$work/ca.crt" ] || incus exec "$primary" -- cat /var/lib/postgresql/pgaf/tls/ca.crt </dev/null >"$work/ca.crt"
  "$work/client" "$(conninfo "$primary")" "$(conninfo "$standby")" >"$work/measured" &
  client=$!
  status=0
  "$pgafrun" -i "$inventory" drill container-kill --json "$work/result.json" >"$work/output" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    sed 's/^/    /' "$work/output"
    kill "$client" 2>/dev/null || true
    wait "$client" || true
    continue
  fi
  wait "$client"
  python3 - "$work/result.json" "$(cat "$work/measured")" <<'PY'
import json, sys
result, client = json.load(open(sys.argv[1])), float(sys.argv[2])
told, felt = result["outage"]["seconds"], result["gap"]["seconds"]
best, worst = result["prediction"]["best"], result["prediction"]["worst"]
print("reported %8.3f s, by an independent client %8.3f s: differ by %5.1f ms (50 allowed); the slowest client felt %.2f s, "
      "predicted %.1f .. %.1f s" % (told, client, (told - client) * 1000, felt, best, worst))
PY
done
