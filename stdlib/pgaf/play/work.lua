-- What a step does on one target, whichever way it says so: a list of resources, or a function.

local failure = require "pgaf.failure"
local suggest = require "pgaf.suggest"

local work = {}

---@class pgaf.play.Work
---@field resources pgaf.Resource[]
---@field run? fun(target: pgaf.Target, results: pgaf.play.Results): any, any instead of them

local NONE = {}

-- A step's own probe and apply, as a resource.
local function own_resource(step, reads)
  return {
    name = step[1], reads = reads,
    probe = step.probe and function(_, on, facts) return step.probe(on, facts) end,
    wait = step.wait and function(_, on, tell) return step.wait(on, tell) end,
    ensure = step.ensure and function(_, on, tell, difference) return step.ensure(on, tell, difference) end,
    apply = step.apply and function(_, on, difference, facts, tell) return step.apply(on, difference, facts, tell) end,
    settles = step.settles,
  }
end

local function is_resource(value)
  return type(value) == "table" and (value.probe or value.ensure or value.problems) and true or false
end

-- Calls one of the script's functions while the plan is built; what it raises is a mistake like others.
local function made(step, what, f, target, report)
  local ok, value = pcall(f, target)
  if ok then return true, value end
  report(step, ("its %s could not be made for %s: %s"):format(what, target.name, failure.first_line(value)))
  return false
end

local function resources_of(step, target, report)
  local ok, value = true, step.resource
  if type(value) == "function" then ok, value = made(step, "resource", value, target, report) end
  if not ok then return NONE end
  local list = is_resource(value) and { value } or value
  if type(list) ~= "table" then
    report(step, ("its resource for %s is %s"):format(target.name, value == nil and "nothing" or "a " .. type(value)))
    return NONE
  end
  for i, resource in ipairs(list) do
    if not is_resource(resource) then
      local near = type(resource) == "table" and suggest("probe", work.keys(resource))
      report(step, ("the %s of its resources has neither probe nor ensure%s"):format(
        i == 1 and "first" or "number " .. i, near and (", but %q"):format(near) or ""))
      return NONE
    end
    for _, problem in ipairs(resource.problems or NONE) do report(step, problem, resource.where) end
  end
  return list
end

---@param value table
---@return string[]
function work.keys(value)
  local list = {}
  for key in pairs(value) do
    if type(key) == "string" then list[#list + 1] = key end
  end
  table.sort(list)
  return list
end

-- The same for all targets, where nothing of it depends on one.
local function shared_or_own(step, target, report)
  if step.reads then
    local _, reads = made(step, "facts' names (reads)", step.reads, target, report)
    return { resources = { own_resource(step, reads) }, run = step.run }
  end
  if not step.work then
    step.work = { resources = (step.probe or step.ensure) and { own_resource(step) } or NONE, run = step.run }
  end
  return step.work
end

---The mistakes in resources that are the same for all targets: they are told also where the step has none.
---@param step pgaf.Step
---@param report fun(step: pgaf.Step, message: string, where?: string)
function work.check(step, report)
  if type(step.resource) == "table" then resources_of(step, nil, report) end
end

---The mistakes that a step's function makes in resources for each of these targets. Whatever else comes of it on a
---target where the step may never run is no mistake.
---@param step pgaf.Step
---@param targets pgaf.Target[]
---@param report fun(step: pgaf.Step, message: string, where?: string)
function work.check_everywhere(step, targets, report)
  if type(step.resource) ~= "function" then return end
  local counts = {}
  for i, target in ipairs(targets) do
    local ok, value = pcall(step.resource, target)
    for _, one in ipairs(ok and type(value) == "table" and (is_resource(value) and { value } or value) or NONE) do
      for _, problem in ipairs(is_resource(one) and one.problems or NONE) do
        if counts[problem] == i - 1 or i == 1 then counts[problem] = i end
        if counts[problem] == #targets then report(step, problem, one.where) end
      end
    end
  end
end

---@param step pgaf.Step
---@param target pgaf.Target
---@param report fun(step: pgaf.Step, message: string, where?: string)
---@return pgaf.play.Work
function work.of(step, target, report)
  if step.resource then return { resources = resources_of(step, target, report) } end
  return shared_or_own(step, target, report)
end

return work
