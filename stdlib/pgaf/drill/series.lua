-- A drill's writes and states as they are drawn: seconds from the fault on, few enough to be looked at.

local sorted_keys = require "pgaf.sorted_keys"

local series = {}

-- Wide enough for a screen, twice over.
local POINTS = 1500
local NARROWEST = 0.05

---@class pgaf.Series
---@field width number seconds of one bucket
---@field at number[] where each begins, seconds from the fault
---@field acknowledged integer[] settled in it
---@field slowest (number|false)[] milliseconds of the slowest of them; false: none was acknowledged
---@field failed integer[] refused or unknown, settled in it

---@param ledger pgaf.Ledger
---@param zero number time.now() of the fault
---@return pgaf.Series
function series.writes(ledger, zero)
  local from, to = math.huge, -math.huge
  for id = 1, ledger.count do
    from, to = math.min(from, ledger.sent[id]), math.max(to, ledger.settled[id] or ledger.sent[id])
  end
  local made = { width = NARROWEST, at = {}, acknowledged = {}, slowest = {}, failed = {} }
  if from > to then return made end
  made.width = math.max(NARROWEST, (to - from) / POINTS)
  for i = 1, math.floor((to - from) / made.width) + 1 do
    made.at[i] = from + (i - 1) * made.width - zero
    made.acknowledged[i], made.slowest[i], made.failed[i] = 0, false, 0
  end
  for id = 1, ledger.count do
    local settled = ledger.settled[id]
    local i = settled and math.floor((settled - from) / made.width) + 1
    if i and ledger.fate[id] == "acknowledged" then
      local took = (settled - ledger.sent[id]) * 1000
      made.acknowledged[i] = made.acknowledged[i] + 1
      made.slowest[i] = math.max(made.slowest[i] or 0, took)
    elseif i then
      made.failed[i] = made.failed[i] + 1
    end
  end
  return made
end

---@class pgaf.Lane
---@field node string
---@field spans { from: number, to: number, reported: string, goal: string }[] seconds from the fault

---What the monitor had of each node, from the beginning to the end.
---@param timeline pgaf.Timeline
---@param from number time.now()
---@param to number
---@param zero number
---@return pgaf.Lane[]
function series.lanes(timeline, from, to, zero)
  local lanes, by_node = {}, {}
  for i, name in ipairs(sorted_keys(timeline.initial)) do
    local first = timeline.initial[name]
    by_node[name] = { node = name, spans = { { from = from, to = to, reported = first.reported, goal = first.goal } } }
    lanes[i] = by_node[name]
  end
  local changes = table.move(timeline.changes, 1, #timeline.changes, 1, {})
  table.sort(changes, function(a, b) return a.at < b.at end)
  for _, change in ipairs(changes) do
    local lane = by_node[change.node]
    if lane and change.at >= from then
      lane.spans[#lane.spans].to = change.at
      lane.spans[#lane.spans + 1] = { from = change.at, to = to, reported = change.reported, goal = change.goal }
    end
  end
  for _, lane in ipairs(lanes) do
    for _, span in ipairs(lane.spans) do span.from, span.to = span.from - zero, span.to - zero end
  end
  return lanes
end

return series
