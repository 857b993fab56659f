-- http.request beside the same GET in C on bare libcurl. Prints figures, judges nothing. tests/bench/http_get.sh builds
-- the C program and hands its path over, with the unix socket to ask and the path.

local http = require "pgafrun.http"
local process = require "pgafrun.process"
local time = require "pgafrun.time"

local bare, unix_socket, path = ...
assert(path, "usage: http_get.lua C-PROGRAM SOCKET PATH (run http_get.sh)")

local COUNT, ROUNDS = 2000, 7

local function run_bare()
  local r = process.run { bare, unix_socket, path, tostring(COUNT) }
  assert(r.code == 0, r.stderr)
  return tonumber(r.stdout)
end

local function run_pgafrun()
  local request = { url = "http://bench" .. path, unix_socket = unix_socket }
  assert(http.request(request).status == 200) -- connects
  local start = time.now()
  for _ = 1, COUNT do http.request(request) end
  return (time.now() - start) / COUNT * 1e6
end

-- Side by side in each round, so that what else the machine does troubles both.
local bests = { bare = math.huge, pgafrun = math.huge }
for _ = 1, ROUNDS do
  bests.bare = math.min(bests.bare, run_bare())
  bests.pgafrun = math.min(bests.pgafrun, run_pgafrun())
end
print(("GET %s on a kept connection, best of %d rounds of %d:"):format(path, ROUNDS, COUNT))
print(("  bare libcurl %8.1f us"):format(bests.bare))
print(("  http.request %8.1f us  (%+.1f us, %+.1f %%)"):format(bests.pgafrun, bests.pgafrun - bests.bare,
  (bests.pgafrun / bests.bare - 1) * 100))
