-- What a client feels while something is done to a formation: one writes every few milliseconds, over the URI with all
-- hosts as an application does, and the longest time between two acknowledged writes is told.
--
-- Each write is a commit that waits for the standbys as any other, and leaves nothing behind: a message in the log of
-- the database, which no table holds.

local error = require "pgafrun.error"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local workload = require "pgaf.drill.workload"

local STATEMENT = "select pg_logical_emit_message(true, 'pgafrun', $1::bigint::text)"
local INTERVAL = 0.01
local FIRST_WRITES = 10
local FIRST_SECONDS = 10
-- After it is done: for a client that connects again.
local LAST_SECONDS = 10
local LOOK_SECONDS = 0.05

local meter = {}

---@class pgaf.operate.Felt
---@field seconds number the longest time without an acknowledged write
---@field open? boolean at its end the client still waited
---@field acknowledged integer
---@field refused integer
---@field unknown integer

local function wait_until(seconds, done)
  local deadline = time.now() + seconds
  while not done() do
    if time.now() > deadline then return false end
    task.sleep(LOOK_SECONDS)
  end
  return true
end

local function client(load) return load.writers[1] end

local function wait_for_writes(load, anyway)
  if wait_until(FIRST_SECONDS, function() return load.ledger:tally().acknowledged >= FIRST_WRITES end) then return end
  if anyway then return end
  error.raise {
    kind = "missing", operation = "measure",
    message = ("no client can write: %s; nothing was touched"):format(load.last_refusal or "no write is acknowledged"),
    hint = "is this machine in operator_networks of the inventory? --no-measure does without a client",
  }
end

---Does something while a client writes. Where the context measures nothing, it is only done.
---@param context pgaf.operate.Context
---@param f fun()
---@param anyway? boolean also where no client can write to begin with
---@return pgaf.operate.Felt?
function meter.measure(context, f, anyway)
  if not context.measure then
    f()
    return nil
  end
  local group <close> = task.group { name = "measure" }
  local load = workload.new(context.reach, "none", { writers = 1, interval = INTERVAL, statement = STATEMENT })
  load:start(group)
  wait_for_writes(load, anyway)
  local from = time.now()
  f()
  local done = time.now()
  wait_until(LAST_SECONDS, function() return load.ledger:acknowledged_since(client(load), done) end)
  local felt = load.ledger:longest_silence(client(load), from, time.now(), true)
  load:stop()
  local tally = load.ledger:tally()
  return {
    seconds = felt.seconds, open = felt.open, acknowledged = tally.acknowledged, refused = tally.refused,
    unknown = tally.unknown,
  }
end

---One line for people.
---@param felt pgaf.operate.Felt?
---@return string?
function meter.line(felt)
  if not felt then return nil end
  if felt.open then return ("a client that writes has waited for %.2f s, and still waits"):format(felt.seconds) end
  return ("a client that writes waited for %.2f s at most"):format(felt.seconds)
end

return meter
