-- The graph of a play: one item for each step on each of its targets, with the items it waits for.

local error = require "pgafrun.error"
local pattern = require "pgaf.play.pattern"
local runner = require "pgaf.play.runner"
local select = require "pgaf.play.select"
local suggest = require "pgaf.suggest"

local plan = {}

local FIELDS = {
  "on", "tags", "needs", "when", "resource", "reads", "probe", "apply", "settles", "wait", "ensure",
  "timeout", "makes_target", "learns", "where",
}
local KNOWN = { [1] = true }
for _, name in ipairs(FIELDS) do KNOWN[name] = true end

---@class pgaf.Item one step on one target
---@field step pgaf.Step
---@field target pgaf.Target
---@field resources pgaf.Resource[]
---@field after pgaf.Item[] what it waits for
---@field before pgaf.Item[] what waits for it
---@field status pgaf.play.Status
---@field left_out boolean? by --tags, --skip-tags, --limit or --start-at: only the order of the others goes through it
---@field detail string? what was done, or differs, or why it was skipped
---@field changes pgaf.Change[]? with --diff
---@field error any? what it failed with
---@field seconds number
---@field barred pgaf.Item? the failure that it is skipped for

---@class pgaf.Plan
---@field title string
---@field items pgaf.Item[] in the order of declaration
---@field all pgaf.Item[] those left out among them
local Plan = {}
Plan.__index = Plan

local function did_you_mean(word, candidates)
  local near = suggest(tostring(word), candidates)
  return near and (", did you mean %q?"):format(near) or ""
end

-- A step's own probe and apply, as a resource.
local function own_resource(step, target)
  return {
    reads = step.reads and step.reads(target),
    probe = step.probe and function(_, on, facts) return step.probe(on, facts) end,
    wait = step.wait and function(_, on, ...) return step.wait(on, ...) end,
    ensure = step.ensure and function(_, on, ...) return step.ensure(on, ...) end,
    apply = step.apply and function(_, on, ...) return step.apply(on, ...) end,
    settles = step.settles,
  }
end

local function resources_of(step, target)
  if not step.resource then return { own_resource(step, target) } end
  local made = type(step.resource) == "function" and step.resource(target) or step.resource
  return (made.probe or made.ensure) and { made } or made
end

local function check_fields(step, report)
  for key in pairs(step) do
    if not KNOWN[key] then
      report(step, ("a step has no field %q%s; it may have: %s"):format(
        tostring(key), did_you_mean(key, FIELDS), table.concat(FIELDS, ", ", 1, #FIELDS - 1)))
    end
  end
  if type(step[1]) ~= "string" then report(step, "a step's first value is its name") end
  if (step.resource == nil) == (step.probe == nil and step.ensure == nil) then
    report(step, "a step has either a resource, or a probe (with apply or wait) or ensure of its own")
  end
  if step.on and #step.on == 0 then report(step, "it runs nowhere: `on` is empty") end
end

-- items[step name][target name]
local function make_items(play, names, report)
  local items, index = {}, {}
  for _, step in ipairs(play.steps) do
    local name = tostring(step[1])
    if index[name] then report(step, ("a step of this name is already at %s"):format(index[name].step.where)) end
    local here = { step = step, on = {} }
    index[name] = here
    local targets, wrong = pattern.select(step.on or "all", names)
    for _, problem in ipairs(wrong) do report(step, problem) end
    for _, target in ipairs(targets) do
      local item = { step = step, target = target, after = {}, before = {}, status = "pending" }
      here.on[target.name] = item
      items[#items + 1] = item
    end
  end
  return items, index
end

local function link(item, needed)
  if item == needed then return end
  item.after[#item.after + 1] = needed
  needed.before[#needed.before + 1] = item
end

local function link_needs(item, index, names, report)
  for _, need in ipairs(item.step.needs or {}) do
    local name = type(need) == "table" and need[1] or need
    local wanted = index[name]
    if not wanted then
      report(item.step, ("it needs %q, and there is no such step%s"):format(tostring(name), did_you_mean(name, names)))
    elseif wanted.on[item.target.name] and not (type(need) == "table" and need.everywhere) then
      link(item, wanted.on[item.target.name])
    else
      for _, needed in pairs(wanted.on) do link(item, needed) end
    end
  end
end

-- Depth first; a way back to an item that is still being walked is a cycle.
local function find_cycle(items)
  local state, way = {}, {}
  local function walk(item)
    state[item] = "open"
    way[#way + 1] = item
    for _, needed in ipairs(item.after) do
      if state[needed] == "open" then
        local names = {}
        for i = #way, 1, -1 do
          table.insert(names, 1, way[i].step[1])
          if way[i] == needed then break end
        end
        names[#names + 1] = needed.step[1]
        return names, needed
      end
      if not state[needed] then
        local names, at = walk(needed)
        if names then return names, at end
      end
    end
    way[#way] = nil
    state[item] = "done"
    return nil
  end
  for _, item in ipairs(items) do
    if not state[item] then
      local names, at = walk(item)
      if names then return names, at end
    end
  end
  return nil
end

-- What --tags and the like leave; a step that later ones learn from is looked at all the same.
local function choose(play, items, names, selection)
  local chosen = select.compile(selection, play.steps, names)
  local wanted = {}
  for i, step in ipairs(play.steps) do wanted[step] = chosen.step(step, i) end
  local kept = {}
  for _, item in ipairs(items) do
    item.left_out = not (wanted[item.step] and chosen.target(item.target.name))
    item.only_looked_at = item.left_out and item.step.learns
    if not item.left_out or item.only_looked_at then kept[#kept + 1] = item end
  end
  return kept
end

---@param play pgaf.Play
---@param selection? pgaf.play.Selection
---@return pgaf.Plan
function plan.build(play, selection)
  local problems, told = {}, {}
  local function report(step, message)
    local text = ("%s: step %q: %s"):format(step.where, tostring(step[1]), message)
    if not told[text] then problems[#problems + 1] = text end
    told[text] = true
  end
  for _, step in ipairs(play.steps) do check_fields(step, report) end
  local targets = pattern.names(play.targets, play.groups)
  local items, index = make_items(play, targets, report)
  local names = {}
  for i, step in ipairs(play.steps) do names[i] = tostring(step[1]) end
  for _, item in ipairs(items) do link_needs(item, index, names, report) end
  local cycle, at = find_cycle(items)
  if cycle then report(at.step, "the steps wait for each other: " .. table.concat(cycle, " needs ")) end
  if #problems > 0 then
    error.raise { kind = "plan", message = "the play cannot be run:\n  " .. table.concat(problems, "\n  ") }
  end
  local kept = choose(play, items, targets, selection or {})
  for _, item in ipairs(kept) do
    item.resources = resources_of(item.step, item.target)
    for _, resource in ipairs(item.resources) do
      if item.target.facts then item.target.facts:want(resource.reads) end
    end
  end
  return setmetatable({ title = play.title, items = kept, all = items, targets = play.targets }, Plan)
end

---Runs it. Raises only when the run itself was interrupted: what failed is in the result.
---@param report pgaf.play.Report
---@param mode? pgaf.play.Mode
---@return pgaf.play.Result
function Plan:run(report, mode) return runner.run(self, report, mode) end

return plan
