-- Clients of other habits beside the writers of the workload, because a fail-over feels different to each:
--
--   pinned   keeps to the node that was primary and writes there, whatever it has become: what it still gets
--            acknowledged after the new primary took writes is split brain
--   reader   reads from any node: does what it sees ever go back in time?
--   asker    asks each node whether it takes writes, as a proxy's health check does: do two ever say so at once?
--
-- When each has what it wants again is told too: its write acknowledged, a row that it has not seen before, a node that
-- takes writes.

local throw = error
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local recovery = require "pgaf.drill.recovery"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local PAUSE_SECONDS = 0.05
local ASK_SECONDS = 0.1
local RETRY_SECONDS = 0.2
local READ_TIMEOUT = 2
-- What is shorter is no silence.
local SILENCE_SECONDS = 0.25
-- Answers this far apart are taken for the same moment.
local SAME_MOMENT = 2 * ASK_SECONDS

---@class pgaf.Personas
local Personas = {}
Personas.__index = Personas

local personas = {}

-- Connects, works until it breaks, and connects again.
local function keep_at_it(self, connect, work)
  while not self.stopping do
    local began = time.now()
    local ok, problem = pcall(function()
      local connection <close> = connect()
      while not self.stopping and connection:is_open() do work(connection) end
    end)
    task.check()
    if not ok and not error.is(problem) then throw(problem, 0) end
    if not ok then self.failed = self.failed + 1 end
    if not self.stopping then task.sleep(math.max(0, began + RETRY_SECONDS - time.now())) end
  end
end

local function pinned(self)
  keep_at_it(self, function() return self.reach:node(self.primary, "drill pinned") end, function(connection)
    if self.workload:write(connection, "pinned") then self.recoveries.pinned:success(time.now()) end
    task.sleep(PAUSE_SECONDS)
  end)
end

local function saw(self, host, top)
  local at = time.now()
  if self.last_read then self.longest_unread = math.max(self.longest_unread, at - self.last_read) end
  self.last_read, self.reads = at, self.reads + 1
  if top < self.top then
    table.insert(self.went_back, { at = at, from = self.top, to = top, from_host = self.top_host, to_host = host })
  end
  if top > (self.newest or -1) then
    self.newest = top
    self.recoveries.reader:success(at)
  end
  self.top, self.top_host = top, host
end

-- Another node first, each time it connects.
local function reader(self)
  local turn = 0
  keep_at_it(self, function()
    turn = turn + 1
    return self.reach:any("drill reader", turn)
  end, function(connection)
    local row = connection:query(self.top_sql, nil, { timeout = READ_TIMEOUT }).rows[1]
    saw(self, connection.host, row.top)
    task.sleep(PAUSE_SECONDS)
  end)
end

local TAKES_WRITES = [[
select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off' as takes_writes]]

local function answered(self, name, takes_writes)
  local at = time.now()
  self.said[name] = takes_writes and at or nil
  if not takes_writes then return end
  self.recoveries.proxy:success(at)
  for other, when in pairs(self.said) do
    if other ~= name and at - when <= SAME_MOMENT then
      self.two_at_once = self.two_at_once or { first = at, nodes = { other, name } }
      self.two_at_once.last = at
    end
  end
end

local function asker(self, name)
  keep_at_it(self, function() return self.reach:node(name, "drill asker") end, function(connection)
    answered(self, name, connection:query(TAKES_WRITES, nil, { timeout = 1 }).rows[1].takes_writes)
    task.sleep(ASK_SECONDS)
  end)
end

---Starts them all.
---@param group pgafrun.Group
---@param drill pgaf.Drill
---@return pgaf.Personas
function personas.start(group, drill)
  local self = setmetatable({
    reach = drill.reach, workload = drill.workload, primary = drill.baseline.primary, failed = 0, reads = 0, top = 0,
    longest_unread = 0, went_back = json.as_array(), said = {}, tasks = {},
    top_sql = ("select coalesce(max(id), 0) as top from %s"):format(drill.workload.table_name),
  }, Personas)
  local threshold = math.max(SILENCE_SECONDS, 3 * drill.workload.interval)
  self.recoveries = {
    pinned = recovery.new(threshold), reader = recovery.new(threshold), proxy = recovery.new(threshold),
  }
  local function spawn(name, f, ...) table.insert(self.tasks, group:spawn_named(name, f, self, ...)) end
  spawn("pinned client", pinned)
  spawn("reader", reader)
  for _, entry in ipairs(drill.inventory.nodes) do spawn("asker of " .. entry.name, asker, entry.name) end
  return self
end

---Lets each end what it is at.
function Personas:stop()
  self.stopping, self.stopped_at = true, self.stopped_at or time.now()
  for _, one in ipairs(self.tasks) do one:wait() end
end

---The longest that each went without what it wants because of a fault.
---@param since number time.now() of the fault
---@return table<string, pgaf.Silence?> by the keys of pgaf.drill.phases
function Personas:silences(since)
  local silences = {}
  for key, one in pairs(self.recoveries) do silences[key] = one:longest(since, self.stopped_at or time.now()) end
  return silences
end

---@class pgaf.PersonasResult
---@field pinned { acknowledged: integer, refused: integer, unknown: integer, last: number? } last: its last
---acknowledged write on the old primary before any other node acknowledged one, seconds from the fault
---@field split_brain integer[] acknowledged by the old primary although sent after another node had acknowledged one
---@field reads integer
---@field longest_unread number seconds
---@field went_back { seconds: number, from: integer, to: integer, from_host: string, to_host: string }[]
---@field two_at_once? { first: number, last: number, nodes: string[] } seconds from the fault

---@param ledger pgaf.Ledger
---@param old_host string
---@param since number time.now() of the fault
---@param back? number time.now() when the old primary became primary again: from then on it is not old
---@return integer[] ids, number? last
function personas.split_brain(ledger, old_host, since, back)
  local first_elsewhere, ids, last = math.huge, json.as_array(), nil
  for id = 1, ledger.count do
    if ledger.fate[id] == "acknowledged" and ledger.host[id] ~= old_host and ledger.settled[id] >= since then
      first_elsewhere = math.min(first_elsewhere, ledger.settled[id])
    end
  end
  back = back or math.huge
  for id = 1, ledger.count do
    if ledger.fate[id] == "acknowledged" and ledger.host[id] == old_host and ledger.settled[id] >= since then
      if ledger.sent[id] > first_elsewhere and ledger.sent[id] < back then
        ids[#ids + 1] = id
      elseif ledger.settled[id] < first_elsewhere then
        last = ledger.settled[id]
      end
    end
  end
  return ids, last
end

---@param old_host string
---@param since number time.now() of the fault
---@param again? number see personas.split_brain
---@return pgaf.PersonasResult
function Personas:result(old_host, since, again)
  local ids, last = personas.split_brain(self.workload.ledger, old_host, since, again)
  local own = self.workload.ledger:tally "pinned"
  local back = json.as_array()
  for i, one in ipairs(self.went_back) do
    back[i] = {
      seconds = one.at - since, from = one.from, to = one.to, from_host = one.from_host, to_host = one.to_host,
    }
  end
  local two = self.two_at_once
  return {
    pinned = {
      acknowledged = own.acknowledged, refused = own.refused, unknown = own.unknown, last = last and last - since,
    },
    split_brain = ids, reads = self.reads, longest_unread = self.longest_unread, went_back = back,
    two_at_once = two and { first = two.first - since, last = two.last - since, nodes = two.nodes },
  }
end

return personas
