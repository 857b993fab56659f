-- Pipelined `select 1` beside the same in C on bare libpq, against a server of its own. Prints figures beside the
-- limit; judges nothing. tests/bench/pg_pipeline.sh builds the C program and hands its path over.

local pg = require "pgafrun.pg"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local bare = assert((...), "the path of the C program is missing: run pg_pipeline.sh")
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local postgres = dofile(here .. "/../integration/support/postgres.lua")

local BATCHES, SIZE, ROUNDS = 15, 1000, 31

local server = postgres.cluster { hba = "local all all trust\nhost all all 127.0.0.1/32 trust\n" }
local _ <close> = setmetatable({}, { __close = function() task.shield(30, server.remove, server) end })

local function run_bare(host)
  local conninfo = ("host=%s port=%d user=postgres dbname=postgres"):format(host, server.port)
  local r = process.run { bare, conninfo, tostring(BATCHES), tostring(SIZE) }
  assert(r.code == 0, r.stderr)
  return tonumber(r.stdout)
end

local function run_pgafrun(host)
  local c <close> = pg.connect { host = host, port = server.port, user = "postgres", dbname = "postgres" }
  local statements, sum = {}, 0
  for i = 1, SIZE do statements[i] = { "select 1 as one" } end
  local start = time.now()
  for _ = 1, BATCHES do
    for _, r in ipairs(c:pipeline(statements)) do sum = sum + r.rows[1].one end
  end
  assert(sum == BATCHES * SIZE)
  return sum / (time.now() - start)
end

local function median(figures)
  table.sort(figures)
  return figures[(#figures + 1) // 2]
end

-- What else the machine does meets both, because rounds are short, in turn, and compared pair by pair; each is first in
-- every other pair.
for _, host in ipairs { server.folder, "127.0.0.1" } do
  local ours, theirs, ratios = {}, {}, {}
  run_bare(host)
  run_pgafrun(host)
  for round = 1, ROUNDS do
    if round % 2 == 0 then ours[round] = run_pgafrun(host) end
    theirs[round] = run_bare(host)
    ours[round] = ours[round] or run_pgafrun(host)
    ratios[round] = ours[round] / theirs[round]
  end
  local ratio = median(ratios)
  local low, high = ratios[#ratios // 4 + 1], ratios[#ratios - #ratios // 4]
  local what = "pipelined select 1, %-6s %10.0f /s      x %.2f of libpq alone (%.0f /s; half the pairs %.2f to %.2f)"
  print((what .. "; 0.80 asked"):format(host == "127.0.0.1" and "TCP" or "socket", median(ours), ratio, median(theirs),
    low, high))
end
