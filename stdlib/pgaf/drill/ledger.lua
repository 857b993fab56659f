-- Every write of a drill, under an id of its own, with its fate and when it was sent and settled (time.now()):
--
--   acknowledged  the server said that it is committed: if it is missing afterwards, data was lost
--   refused       the server said no, or it was never sent: if it is there afterwards, it is a ghost
--   unknown       sent, and no answer came: it may be there or not, both are right
--
-- Columns, not records: a long drill has a hundred thousand of them.

local error = require "pgafrun.error"
local json = require "pgafrun.json"
local time = require "pgafrun.time"

---@class pgaf.Ledger
---@field count integer ids are 1 .. count
---@field sent number[]
---@field settled number[] absent while in flight
---@field fate string[]
---@field writer string[] who wrote it
---@field host string[] the server it was sent to
---@field reason table<integer, string> why it was not acknowledged
local Ledger = {}
Ledger.__index = Ledger

local ledger = {}

---@return pgaf.Ledger
function ledger.new()
  return setmetatable({ count = 0, sent = {}, settled = {}, fate = {}, writer = {}, host = {}, reason = {} }, Ledger)
end

--- Takes the next id; the write is in flight from here on.
---@param writer string
---@param host string
---@return integer id
function Ledger:send(writer, host)
  local id = self.count + 1
  self.count = id
  self.sent[id], self.writer[id], self.host[id] = time.now(), writer, host
  self.fate[id] = "unknown"
  return id
end

---@param id integer
---@param fate "acknowledged"|"refused"|"unknown"
---@param reason? string
function Ledger:settle(id, fate, reason)
  self.settled[id], self.fate[id], self.reason[id] = time.now(), fate, reason
end

-- Classes of SQLSTATE after which the transaction may be committed all the same: connection exceptions, the server
-- shutting down (a commit that waits for its standby is already in the log), system and internal errors.
local UNCERTAIN = { ["08"] = true, ["57"] = true, ["58"] = true, ["XX"] = true, ["40003"] = true }

--- What an error of a write says of its fate.
---@param problem any what pcall returned
---@return "refused"|"unknown"
function ledger.fate_of(problem)
  if not error.is(problem) or problem.outcome == "unknown" then return "unknown" end
  if problem.kind == "postgres" then
    local code = problem.code or ""
    if code == "" or UNCERTAIN[code] or UNCERTAIN[code:sub(1, 2)] then return "unknown" end
    return "refused"
  end
  -- Broke before anything was sent: the transport says "unknown" otherwise.
  return (problem.kind == "network" or problem.kind == "closed") and "refused" or "unknown"
end

--- How many have each fate; of one writer, or all.
---@param writer? string
---@return { acknowledged: integer, refused: integer, unknown: integer, total: integer }
function Ledger:tally(writer)
  local tally = { acknowledged = 0, refused = 0, unknown = 0, total = 0 }
  for id = 1, self.count do
    if not writer or self.writer[id] == writer then
      local fate = self.fate[id]
      tally[fate] = tally[fate] + 1
      tally.total = tally.total + 1
    end
  end
  return tally
end

---@class pgaf.Gap
---@field from number last acknowledged write before
---@field to number first one after
---@field seconds number
---@field from_host string
---@field to_host string
---@field writes_took number? of an outage: seconds that the writes at its two ends took together

local function gap_between(self, from, to)
  return {
    from = self.settled[from], to = self.settled[to], seconds = self.settled[to] - self.settled[from],
    from_host = self.host[from], to_host = self.host[to],
  }
end

--- What a writer felt of a fail-over: from its last acknowledged write to the first one, after `since`, that another
--- server than `old_host` acknowledged. nil when there was none. (The old server may go on for a moment after the
--- fault was sent: the gap begins with its last acknowledgement.)
---@param writer string
---@param since number
---@param old_host string
---@return pgaf.Gap?
function Ledger:gap(writer, since, old_host)
  local last
  -- A writer has one write in flight: its ids are settled in order.
  for id = 1, self.count do
    if self.writer[id] == writer and self.fate[id] == "acknowledged" then
      if last and self.settled[id] >= since and self.host[id] ~= old_host then return gap_between(self, last, id) end
      last = id
    end
  end
end

-- The acknowledged write that `better(id, other)` prefers to every other one; `fits` says which are looked at.
local function best(self, fits, better)
  local found
  for id = 1, self.count do
    if self.fate[id] == "acknowledged" and fits(id) and (not found or better(id, found)) then found = id end
  end
  return found
end

--- How long nobody could write, whoever tried: from the last write that was acknowledged to the first one, after
--- `since`, by another server than the one that took writes until then. nil when there was none.
---@param since number
---@return pgaf.Gap?
function Ledger:outage(since)
  local settled = self.settled
  local function later(id, other) return settled[id] > settled[other] end
  local function earlier(id, other) return settled[id] < settled[other] end
  local old = best(self, function(id) return settled[id] < since end, later)
  if not old then return nil end
  local first = best(self, function(id)
    return settled[id] >= since and self.host[id] ~= self.host[old]
  end, earlier)
  if not first then return nil end
  local last = best(self, function(id) return settled[id] < settled[first] end, later)
  local gap = gap_between(self, last, first)
  gap.writes_took = settled[last] - self.sent[last] + settled[first] - self.sent[first]
  return gap
end

--- The longest time between two acknowledged writes of a writer, both in a span. With `open`, also from the last one
--- before the span, and up to its end: who still waits at its end has waited so long, at least.
---@param writer string
---@param from number
---@param to number
---@param open? boolean
---@return pgaf.Gap?
function Ledger:longest_silence(writer, from, to, open)
  local longest, last
  for id = 1, self.count do
    local at = self.settled[id]
    if self.writer[id] == writer and self.fate[id] == "acknowledged" and at <= to then
      if at >= from and last and (not longest or at - self.settled[last] > longest.seconds) then
        longest = gap_between(self, last, id)
      end
      if at >= from or open then last = id end
    end
  end
  local waits = open and to - (last and self.settled[last] or from) or 0
  if not open or longest and longest.seconds >= waits then return longest end
  return {
    from = last and self.settled[last] or from, to = to, seconds = waits, from_host = self.host[last], open = true,
  }
end

--- Has a write of this writer, sent after a time, been acknowledged?
---@param writer string
---@param after number
---@return boolean
function Ledger:acknowledged_since(writer, after)
  for id = self.count, 1, -1 do
    if self.sent[id] < after then return false end
    if self.writer[id] == writer and self.fate[id] == "acknowledged" then return true end
  end
  return false
end

--- Latencies of the acknowledged writes that were sent in a span, sorted.
---@param from number
---@param to number
---@return number[]
function Ledger:latencies(from, to)
  local found = {}
  for id = 1, self.count do
    local sent = self.sent[id]
    if self.fate[id] == "acknowledged" and sent >= from and sent < to then
      found[#found + 1] = self.settled[id] - sent
    end
  end
  table.sort(found)
  return found
end

--- Acknowledged writes settled in a span.
---@param from number
---@param to number
---@return integer
function Ledger:acknowledged_between(from, to)
  local count = 0
  for id = 1, self.count do
    local at = self.settled[id]
    if self.fate[id] == "acknowledged" and at >= from and at < to then count = count + 1 end
  end
  return count
end

---@class pgaf.Audit
---@field lost integer[] acknowledged and absent
---@field ghosts integer[] refused and present
---@field duplicates integer[] present more than once
---@field strangers integer[] present and never sent
---@field unknown_present integer
---@field unknown_absent integer

--- Compares the fates with what is in the table now.
---@param present integer[] the ids of all rows, as read
---@return pgaf.Audit
function Ledger:audit(present)
  local times = {}
  for _, id in ipairs(present) do times[id] = (times[id] or 0) + 1 end
  local audit = {
    lost = json.as_array(), ghosts = json.as_array(), duplicates = json.as_array(), strangers = json.as_array(),
    unknown_present = 0, unknown_absent = 0,
  }
  for id = 1, self.count do
    local fate, there = self.fate[id], times[id] ~= nil
    if fate == "acknowledged" and not there then audit.lost[#audit.lost + 1] = id end
    if fate == "refused" and there then audit.ghosts[#audit.ghosts + 1] = id end
    if fate == "unknown" and there then audit.unknown_present = audit.unknown_present + 1 end
    if fate == "unknown" and not there then audit.unknown_absent = audit.unknown_absent + 1 end
  end
  for id, n in pairs(times) do
    if n > 1 then audit.duplicates[#audit.duplicates + 1] = id end
    if id < 1 or id > self.count then audit.strangers[#audit.strangers + 1] = id end
  end
  table.sort(audit.duplicates)
  table.sort(audit.strangers)
  return audit
end

--- Ids that are in one of the two lists only.
---@param a integer[]
---@param b integer[]
---@return integer[]
function ledger.difference(a, b)
  local sides, found = {}, json.as_array()
  for _, id in ipairs(a) do sides[id] = 1 end
  for _, id in ipairs(b) do sides[id] = (sides[id] or 0) | 2 end
  for id, side in pairs(sides) do
    if side ~= 3 then found[#found + 1] = id end
  end
  table.sort(found)
  return found
end

return ledger
