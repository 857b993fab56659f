-- What is in a play, without running it: --list-tasks, --list-hosts, --list-tags.

local columns = require "pgaf.columns"
local json = require "pgafrun.json"
local select = require "pgaf.play.select"

local listing = {}

---One step as it is planned.
---@class pgaf.play.Listed
---@field step pgaf.Step
---@field targets string[] where it would run

---The steps that have something to do, with their targets; handlers last.
---@param plan pgaf.Plan
---@return pgaf.play.Listed[]
function listing.steps(plan)
  local list, by_step = {}, {}
  for _, item in ipairs(plan.items) do
    if plan:may_run(item) then
      local listed = by_step[item.step]
      if not listed then
        listed = { step = item.step, targets = {} }
        by_step[item.step], list[#list + 1] = listed, listed
      end
      listed.targets[#listed.targets + 1] = item.target.name
    end
  end
  return list
end

---"all", or the targets' names.
---@param plan pgaf.Plan
---@param targets string[]
---@return string
function listing.place(plan, targets)
  if #targets == #plan.targets then return "all" end
  if #targets > 4 then return ("%s, %s and %d more"):format(targets[1], targets[2], #targets - 2) end
  return table.concat(targets, ", ")
end

local function words(step, plan, targets)
  local tags = #step.tags > 0 and "tags: " .. table.concat(step.tags, ", ") or ""
  return { step[1], listing.place(plan, targets), tags }
end

---@param plan pgaf.Plan
---@param write fun(line: string)
function listing.tasks(plan, write)
  write(("play: %s"):format(plan.title))
  local rows, heads, section = {}, {}, nil
  for _, listed in ipairs(listing.steps(plan)) do
    local title = listed.step.is_handler and "handlers" or listed.step.section or (section and "")
    if title ~= section then heads[#rows + 1] = title end
    section = title
    rows[#rows + 1] = words(listed.step, plan, listed.targets)
  end
  for i, line in ipairs(columns.lines(rows, { indent = "    " })) do
    if heads[i] then write(heads[i] == "" and "" or "  " .. heads[i]) end
    write(line)
  end
  if #rows == 0 then write("    no step is left by what was chosen") end
end

-- The targets that have something to do, in the play's order.
local function targets_of(plan)
  local busy, list = {}, {}
  for _, item in ipairs(plan.items) do busy[item.target] = busy[item.target] or plan:may_run(item) end
  for _, target in ipairs(plan.targets) do
    if busy[target] then list[#list + 1] = target end
  end
  return list
end

local function groups_of(plan, target)
  local list = {}
  for group, members in pairs(plan.names.groups) do
    if group ~= "all" and members[target.name] then list[#list + 1] = group end
  end
  table.sort(list)
  return list
end

---@param plan pgaf.Plan
---@param write fun(line: string)
function listing.hosts(plan, write)
  local rows = {}
  for i, target in ipairs(targets_of(plan)) do
    local groups = groups_of(plan, target)
    rows[i] = { target.name, #groups > 0 and "groups: " .. table.concat(groups, ", ") or "" }
  end
  write(("play: %s"):format(plan.title))
  write(("  hosts (%d):"):format(#rows))
  for _, line in ipairs(columns.lines(rows, { indent = "    " })) do write(line) end
end

---@param plan pgaf.Plan
---@param write fun(line: string)
function listing.tags(plan, write)
  local counts, rows = {}, {}
  local steps = {}
  for i, listed in ipairs(listing.steps(plan)) do
    steps[i] = listed.step
    for _, tag in ipairs(listed.step.tags) do counts[tag] = (counts[tag] or 0) + 1 end
  end
  for i, tag in ipairs(select.tags(steps)) do
    rows[i] = { tag, counts[tag] == 1 and "1 step" or counts[tag] .. " steps" }
  end
  write(("play: %s"):format(plan.title))
  write("  tags:")
  for _, line in ipairs(columns.lines(rows, { indent = "    " })) do write(line) end
end

-- --------------------------------------------------------------------------------------------------- for programs

local list_of = json.as_array

---One JSON object a line: the steps, and the targets.
---@param plan pgaf.Plan
---@param what { tasks: boolean, hosts: boolean, tags: boolean, graph: any }
---@param write fun(line: string)
function listing.json(plan, what, write)
  local steps = {}
  for i, listed in ipairs(listing.steps(plan)) do
    local step, needs = listed.step, {}
    steps[i] = step
    for k, need in ipairs(step.needs or {}) do needs[k] = type(need) == "table" and need[1] or need end
    if what.tasks or what.graph then -- its edges are what each needs and notifies
      write(json.encode {
        event = "task", name = step[1], section = step.section, on = list_of(listed.targets),
        tags = list_of { table.unpack(step.tags) }, needs = list_of(needs),
        notify = list_of { table.unpack(step.notify or {}) }, handler = step.is_handler or false, where = step.where,
      })
    end
  end
  for _, target in ipairs(what.hosts and targets_of(plan) or {}) do
    write(json.encode { event = "host", name = target.name, groups = list_of(groups_of(plan, target)) })
  end
  if what.tags then write(json.encode { event = "tags", tags = list_of(select.tags(steps)) }) end
end

return listing
