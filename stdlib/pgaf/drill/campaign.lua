-- Several drills one after the other: which, in which order, and what came of them. Of each drill only what its row
-- needs is kept in memory; the whole is in its folder.

local cases = require "pgaf.drill.cases"
local error = require "pgafrun.error"
local faults = require "pgaf.drill.fault"
local json = require "pgafrun.json"
local judge = require "pgaf.drill.judge"
local statistics = require "pgaf.drill.statistics"
local time = require "pgafrun.time"

local campaign = {}

---@class pgaf.campaign.Turn
---@field fault pgaf.Fault
---@field number integer which of this fault's runs it is
---@field left_out? string why its fault cannot be done here: it was not run

---@class pgaf.campaign.Run
---@field fault string
---@field number integer
---@field code integer
---@field verdict string
---@field reasons string[]
---@field gap? number seconds
---@field lost? integer nil: not looked up
---@field run? string nil: it was refused
---@field started? string
---@field seconds number that it took
---@field slower boolean than its history
---@field folder? string where its files are

---@class pgaf.Campaign
---@field formation string
---@field environment string
---@field times integer
---@field seed? integer of the order
---@field turns pgaf.campaign.Turn[]
---@field runs pgaf.campaign.Run[]
---@field left_out { fault: string, why: string }[]
---@field cases table<pgaf.campaign.Turn, pgaf.junit.Case>
local Campaign = {}
Campaign.__index = Campaign

-- 5 is worse than lost data here: whoever goes on would break what is already broken.
local GRAVITY = {
  [judge.PASSED] = 0, [judge.UNHEALTHY] = 1, [judge.MISSING] = 2, [judge.TOO_SLOW] = 3, [judge.LOST] = 4,
  [judge.INTERRUPTED] = 5, [judge.NOT_PUT_BACK] = 6,
}

---The faults of these names; without any, all of the catalogue. What cannot be done here is refused where it was named,
---and left out of all.
---@param names string[]
---@param provider pgaf.Provider
---@param inventory table
---@return pgaf.Fault[] chosen, { fault: string, why: string }[] left_out
function campaign.choose(names, provider, inventory)
  local all, chosen, left_out = #names == 0, {}, json.as_array()
  for _, name in ipairs(all and select(2, faults.catalogue()) or names) do
    local fault = faults.load(name)
    local ok, problem = pcall(faults.check, fault, provider, inventory)
    if ok then
      chosen[#chosen + 1] = fault
    elseif all and error.is(problem) then
      left_out[#left_out + 1] = { fault = fault.name, why = problem.message }
    else
      error.raise(problem)
    end
  end
  return chosen, left_out
end

-- A generator of its own, so that a seed means the same order with every version of Lua: Knuth's MMIX, its high bits.
local function random(seed)
  local state = seed
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return ((state >> 33) % n) + 1
  end
end

---The turns: each fault as often as wanted, one fault after the other; with a seed, shuffled.
---@param chosen pgaf.Fault[]
---@param times integer
---@param seed? integer
---@return pgaf.campaign.Turn[]
function campaign.turns(chosen, times, seed)
  local order = {}
  for _, fault in ipairs(chosen) do
    for _ = 1, times do order[#order + 1] = fault end
  end
  if seed then
    local pick = random(seed)
    for i = #order, 2, -1 do
      local j = pick(i)
      order[i], order[j] = order[j], order[i]
    end
  end
  local turns, count = {}, {}
  for i, fault in ipairs(order) do
    count[fault] = (count[fault] or 0) + 1
    turns[i] = { fault = fault, number = count[fault] }
  end
  return turns
end

---@param inventory table
---@param turns pgaf.campaign.Turn[]
---@param options { times: integer, seed?: integer, left_out: table }
---@return pgaf.Campaign
function campaign.new(inventory, turns, options)
  return setmetatable({
    formation = inventory.formation, environment = inventory.environment, times = options.times, seed = options.seed,
    left_out = options.left_out, turns = turns, runs = json.as_array(), cases = {}, started = time.iso(),
    began = time.now(),
  }, Campaign)
end

---Keeps what a row needs of a result.
---@param turn pgaf.campaign.Turn
---@param result table
---@param seconds number
---@param folder? string
function Campaign:add(turn, result, seconds, folder)
  table.insert(self.runs, {
    fault = turn.fault.name, number = turn.number, code = result.verdict.code, verdict = result.verdict.name,
    reasons = json.as_array(result.verdict.reasons), gap = result.gap and result.gap.seconds,
    lost = result.audit and #result.audit.lost, run = result.run, started = result.started, seconds = seconds,
    slower = result.history ~= nil and result.history.slower, folder = folder,
  })
  self.cases[turn] = cases.of(result, ("%s %d"):format(turn.fault.name, turn.number), seconds)
end

---A fault that turned out not to be possible here: its other turns are not come to.
---@param fault pgaf.Fault
---@param why string
function Campaign:leave_out(fault, why)
  table.insert(self.left_out, { fault = fault.name, why = why })
  for _, turn in ipairs(self.turns) do
    if turn.fault == fault then turn.left_out = why end
  end
end

---The exit code: that of the gravest. A campaign in which nothing could be done has proven nothing.
---@return integer
function Campaign:code()
  local gravest = #self.runs == 0 and judge.MISSING or judge.PASSED
  for _, run in ipairs(self.runs) do
    if GRAVITY[run.code] > GRAVITY[gravest] then gravest = run.code end
  end
  return gravest
end

---@class pgaf.campaign.Row
---@field fault string
---@field n integer
---@field verdicts table<string, integer> how often each
---@field gap pgaf.Statistics seconds that clients could not write
---@field lost? integer in all of them; nil: one was not looked up
---@field slower integer how many were slower than their history

local function row_of(name, runs)
  local row = { fault = name, n = 0, verdicts = {}, lost = 0, slower = 0 }
  local gaps = {}
  for _, run in ipairs(runs) do
    if run.fault == name then
      row.n, row.verdicts[run.verdict] = row.n + 1, (row.verdicts[run.verdict] or 0) + 1
      gaps[#gaps + 1] = run.code ~= judge.INTERRUPTED and run.gap or nil
      row.lost = row.lost and run.lost and row.lost + run.lost
      row.slower = row.slower + (run.slower and 1 or 0)
    end
  end
  row.gap = statistics.of(gaps)
  return row
end

---One for each fault that was run, in the order they came first.
---@return pgaf.campaign.Row[]
function Campaign:rows()
  local rows, seen = json.as_array(), {}
  for _, run in ipairs(self.runs) do
    if not seen[run.fault] then rows[#rows + 1] = row_of(run.fault, self.runs) end
    seen[run.fault] = true
  end
  return rows
end

---How many turns were neither run nor left out.
---@return integer
function Campaign:to_come()
  local n = 0
  for _, turn in ipairs(self.turns) do
    if not turn.left_out and not self.cases[turn] then n = n + 1 end
  end
  return n
end

---A JUnit suite for each fault, a case for each turn. Turns that were not run are skipped.
---@return pgaf.junit.Suite[]
function Campaign:suites()
  local suites, by_name = {}, {}
  for _, turn in ipairs(self.turns) do
    local name = turn.fault.name
    if not by_name[name] then
      by_name[name] = { name = name, timestamp = self.started:match "^[^.Z]*", cases = {} }
      suites[#suites + 1] = by_name[name]
    end
    table.insert(by_name[name].cases, self.cases[turn] or cases.skipped(self.formation,
      ("%s %d"):format(name, turn.number), turn.left_out or "not come to: the campaign ended before"))
  end
  return suites
end

---In few words, for a notice.
---@return pgaf.Outcome
function Campaign:outcome()
  local verdict, reasons, lost = judge.named(self:code()), json.as_array(), 0
  for _, run in ipairs(self.runs) do
    lost = lost and run.lost and lost + run.lost
    if run.code ~= judge.PASSED then
      reasons[#reasons + 1] = ("%s %d: %s"):format(run.fault, run.number, run.reasons[1] or run.verdict)
    end
  end
  if self:to_come() > 0 then reasons[#reasons + 1] = "drills that were not come to: " .. self:to_come() end
  return {
    what = "campaign", outcome = verdict.name, code = verdict.code, formation = self.formation,
    environment = self.environment, reasons = reasons, lost = lost or nil, runs = #self.runs,
    started = self.started, ended = time.iso(),
  }
end

---All of it, for files.
---@return table
function Campaign:result()
  local code = self:code()
  return {
    formation = self.formation, environment = self.environment, started = self.started, ended = time.iso(),
    seconds = time.now() - self.began, ["repeat"] = self.times, seed = self.seed, verdict = judge.named(code),
    faults = self:rows(), runs = self.runs, left_out = self.left_out, not_run = self:to_come(),
  }
end

return campaign
