-- Earlier drills, from the folders that they left, and what they say about one that has just ended. A run's folder has
-- what it found in result.json (see pgaf.drill.record); one that cannot be read is told and passed over.

local fs = require "pgafrun.fs"
local journal = require "pgaf.drill.journal"
local json = require "pgafrun.json"
local statistics = require "pgaf.drill.statistics"
local time = require "pgafrun.time"

-- A gap is slower than its history when all of these say so: it lies beyond the spread (median + 3 standard deviations,
-- as the median absolute deviation has them), is a tenth slower than the median, and by more than pg_auto_failover's
-- own ticks of a second make of the same fail-over from one time to the next.
local EARLIER_WANTED = 5
local DEVIATIONS = 3
local SLOWER = 1.1
local SLOWER_SECONDS = 0.5
-- What was long ago says little about today.
local LOOKED_AT = 20

local history = {}

---@class pgaf.history.Run
---@field run string
---@field folder string
---@field fault string
---@field formation string
---@field environment? string drills of older versions do not have it
---@field at string when it began
---@field code integer of its verdict
---@field verdict string
---@field gap? number seconds; nil: none was measured to its end
---@field lost? integer acknowledged writes; nil: not looked up
---@field nodes? integer data nodes
---@field settings table<string, any> what its length depends on
---@field version string of pgafrun

---@class pgaf.history.Trouble
---@field folder string
---@field problem string

-- What of the settings a fail-over's length depends on.
local function settings_of(result)
  local settings = { wal_retrieve_retry_interval = result.settings and result.settings.wal_retrieve_retry_interval }
  for name, value in pairs(type(result.timers) == "table" and result.timers or {}) do settings[name] = value end
  return settings
end

local function node_count(result)
  local before = type(result.roles) == "table" and result.roles.before
  return type(before) == "table" and type(before.standbys) == "table" and #before.standbys + 1 or nil
end

local function summary(result, folder)
  local gap = type(result.gap) == "table" and not result.gap.open and result.gap.seconds or nil
  local audit = type(result.audit) == "table" and type(result.audit.lost) == "table" and result.audit
  local verdict = result.verdict or {}
  return {
    run = type(result.run) == "string" and result.run or folder:match "[^/]+$", folder = folder, fault = result.fault,
    formation = result.formation, environment = result.environment, at = result.started, code = verdict.code,
    verdict = verdict.name, gap = type(gap) == "number" and gap or nil, lost = audit and #audit.lost or nil,
    nodes = node_count(result), settings = settings_of(result), version = result.version,
  }
end

local function is_result(result)
  return type(result) == "table" and type(result.verdict) == "table" and math.type(result.verdict.code) == "integer"
    and type(result.fault) == "string" and type(result.started) == "string"
end

local function read_one(folder)
  local ok, result = pcall(function() return json.decode(fs.read(folder .. "/result.json")) end)
  if not ok then return nil, tostring(result) end
  if not is_result(result) then return nil, "result.json is not what a drill leaves" end
  return summary(result, folder)
end

---The runs of a folder, oldest first. A run without a result was killed, or is at work: it is no trouble.
---@param base string
---@return pgaf.history.Run[] runs, pgaf.history.Trouble[] troubles
function history.read(base)
  local runs, troubles = {}, {}
  local there = fs.stat(base)
  for _, name in ipairs(there and there.type == "directory" and fs.list(base) or {}) do
    local folder = ("%s/%s"):format(base, name)
    local stat = fs.stat(folder)
    if stat and stat.type == "directory" and fs.stat(folder .. "/result.json") then
      local run, problem = read_one(folder)
      if run then runs[#runs + 1] = run else troubles[#troubles + 1] = { folder = folder, problem = problem } end
    end
  end
  table.sort(runs, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.run < b.run
  end)
  return runs, troubles
end

---The runs of an inventory's formation in its environment.
---@param inventory table
---@param base? string another folder than the one where its runs are kept
---@return pgaf.history.Run[] runs, pgaf.history.Trouble[] troubles
function history.of(inventory, base)
  local runs, troubles = history.read(base or journal.folder(inventory))
  local own = {}
  for _, run in ipairs(runs) do
    local here = run.formation == inventory.formation
      and (not run.environment or run.environment == inventory.environment)
    if here then own[#own + 1] = run end
  end
  return own, troubles
end

---Removes what drills left that ended so long ago. One that was not put back is kept, however old it is.
---@param inventory table
---@param days number
---@return string[] names of the runs that are gone
function history.prune(inventory, days)
  local base, before = journal.folder(inventory), time.iso(time.wall() - days * 86400)
  local gone = json.as_array()
  for _, name in ipairs(fs.stat(base) and fs.list(base) or {}) do
    local folder = ("%s/%s"):format(base, name)
    local run = fs.stat(folder).type == "directory" and journal.load(folder)
    if run and run.closed and type(run.opened.at) == "string" and run.opened.at < before then
      fs.remove_tree(folder)
      gone[#gone + 1] = name
    end
  end
  return gone
end

---By their faults, in the order of the faults' names.
---@param runs pgaf.history.Run[]
---@return { fault: string, runs: pgaf.history.Run[], statistics: pgaf.Statistics }[]
function history.by_fault(runs)
  local groups, by_name = {}, {}
  for _, run in ipairs(runs) do
    local group = by_name[run.fault]
    if not group then
      group = { fault = run.fault, runs = {} }
      by_name[run.fault], groups[#groups + 1] = group, group
    end
    table.insert(group.runs, run)
  end
  table.sort(groups, function(a, b) return a.fault < b.fault end)
  for _, group in ipairs(groups) do
    local gaps = {}
    for _, run in ipairs(group.runs) do gaps[#gaps + 1] = run.gap end
    group.statistics = statistics.of(gaps)
  end
  return groups
end

local function differing(a, b)
  local names, seen = {}, {}
  for _, side in ipairs { a, b } do
    for name in pairs(side) do
      if a[name] ~= b[name] and not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  return names
end

local function last(list, n) return table.move(list, math.max(1, #list - n + 1), #list, 1, {}) end

-- Those that say something about this one: with its settings, where there are enough of them.
local function comparable(now, runs)
  local same_fault, same_settings = {}, {}
  for _, run in ipairs(runs) do
    if run.fault == now.fault and run.gap and run.run ~= now.run and run.nodes == now.nodes and run.code ~= 130 then
      same_fault[#same_fault + 1] = run
      if #differing(run.settings, now.settings) == 0 then same_settings[#same_settings + 1] = run end
    end
  end
  return last(#same_settings >= EARLIER_WANTED and same_settings or same_fault, LOOKED_AT)
end

local function show(value) return math.type(value) and ("%.6g"):format(value) or tostring(value) end

-- "primary_demote_timeout 10 -> 30": what was otherwise in the latest of them.
local function changes(now, earlier)
  local before, told = earlier[#earlier], json.as_array()
  if not before then return told end
  for i, name in ipairs(differing(before.settings, now.settings)) do
    told[i] = ("%s %s -> %s"):format(name, show(before.settings[name]), show(now.settings[name]))
  end
  return told
end

---@class pgaf.history.Comparison
---@field n integer earlier runs that were looked at
---@field median? number of their gaps, as p95 and max
---@field p95? number
---@field max? number
---@field limit? number seconds; absent while there are too few
---@field slower boolean this one is beyond it
---@field changes string[] settings that the latest of them had otherwise
---@field runs { run: string, at: string, gap: number, verdict: string }[] oldest first
---@field sentence? string that it is slower

---What earlier runs say about one.
---@param now pgaf.history.Run
---@param runs pgaf.history.Run[] oldest first; may hold it as well
---@return pgaf.history.Comparison
function history.compare(now, runs)
  local earlier = comparable(now, runs)
  local gaps, shown = {}, json.as_array()
  for i, run in ipairs(earlier) do
    gaps[i], shown[i] = run.gap, { run = run.run, at = run.at, gap = run.gap, verdict = run.verdict }
  end
  local of = statistics.of(gaps)
  local made = { n = of.n, median = of.median, p95 = of.p95, max = of.max, slower = false, runs = shown,
    changes = changes(now, earlier) }
  if of.n < EARLIER_WANTED then return made end
  local spread = DEVIATIONS * statistics.NORMAL * statistics.deviation(gaps)
  made.limit = math.max(of.median + spread, of.median * SLOWER, of.median + SLOWER_SECONDS)
  made.slower = now.gap ~= nil and now.gap > made.limit
  return made
end

-- For who has to look into it.
local function sentence(comparison, gap)
  local changed = #comparison.changes > 0 and "; changed since: " .. table.concat(comparison.changes, ", ") or ""
  return ("slower than its history: %.2f s, the median of the %d runs before is %.2f s (limit %.2f s)%s"):format(
    gap, comparison.n, comparison.median, comparison.limit, changed)
end

---What the formation's earlier drills say about one that has just ended; nil when its gap was not measured to its end.
---@param result table as the drill has it, with or without its verdict
---@param inventory table
---@return pgaf.history.Comparison?
---@return pgaf.history.Trouble[] troubles
function history.look_back(result, inventory)
  local now = summary(result, "")
  if not now.gap or result.interrupted then return nil, {} end
  local runs, troubles = history.of(inventory)
  local comparison = history.compare(now, runs)
  if comparison.slower then comparison.sentence = sentence(comparison, now.gap) end
  return comparison, troubles
end

return history
