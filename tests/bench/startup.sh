#!/usr/bin/env bash
# Time and memory of `pgafrun -e 'return 0'`: median of 50 runs beside the limits of 10 ms and 10 MB.
set -euo pipefail
pgafrun=${PGAFRUN:-build/pgafrun}
for _ in $(seq 50); do
  start=$(date +%s%N)
  "$pgafrun" -e 'return 0'
  echo $((($(date +%s%N) - start) / 1000))
done | sort -n | awk '{ t[NR] = $1 } END { m = t[int((NR + 1) / 2)] / 1000
  printf "start and end            %12.1f ms      x %.2f of the 10 ms allowed\n", m, m / 10 }'
"$pgafrun" -e 'for line in io.lines "/proc/self/status" do
  local kb = line:match "^VmHWM:%s+(%d+)"
  if kb then print(("peak memory              %12.1f MB      x %.2f of the 10 MB allowed"):format(kb / 1024, kb / 10240)) end
end'
