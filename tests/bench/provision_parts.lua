-- Where the time of a run went: reads what `postgres_ha --json` wrote, and prints each step that took its time, with
-- when its first node began and its last one was done.
--
--     pgafrun tests/bench/provision_parts.lua EVENTS.json

local fs = require "pgafrun.fs"
local json = require "pgafrun.json"

local LEAST_SECONDS = 0.2

local path = ...

-- Seconds within the day; a run over midnight goes on counting.
local first
local function seconds(at)
  local hours, minutes, rest = at:match "T(%d+):(%d+):([%d.]+)"
  local value = hours * 3600 + minutes * 60 + tonumber(rest)
  first = first or value
  return (value - first) % 86400
end

local steps, order = {}, {}
for line in fs.read(path):gmatch "[^\n]+" do
  local event = json.decode(line)
  local at = seconds(event.at)
  if event.event == "finished" and event.seconds then
    local step = steps[event.step]
    if not step then
      step = { name = event.step, from = at, to = at, longest = 0 }
      steps[event.step], order[#order + 1] = step, step
    end
    step.from, step.to = math.min(step.from, at - event.seconds), math.max(step.to, at)
    if event.seconds > step.longest then step.longest, step.node = event.seconds, event.node end
  end
end

table.sort(order, function(a, b) return a.from < b.from end)
for _, step in ipairs(order) do
  if step.longest >= LEAST_SECONDS then
    print(("    %6.1f s to %6.1f s  %-22s %5.1f s on %s"):format(
      step.from, step.to, step.name, step.longest, step.node))
  end
end
