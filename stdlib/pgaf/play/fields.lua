-- What a play, a section, a step and a handler may say about themselves, and what is wrong with what one says.

local sorted_keys = require "pgaf.sorted_keys"
local suggest = require "pgaf.suggest"

local fields = {}

local function is_text(value) return type(value) == "string" and value ~= "" end

local function is_count(value) return math.type(value) == "integer" and value >= 0 end

-- A list without holes whose values pass `ok`; or why not.
local function list_problem(value, ok, of_what)
  if type(value) ~= "table" then return ("a list of %s"):format(of_what) end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  for _, one in ipairs(value) do
    if not ok(one) then return ("a list of %s"):format(of_what) end
  end
  if count ~= #value then return ("a list of %s without holes: a nil amid the list ends it"):format(of_what) end
  return nil
end

-- Each returns the value in its one form, or nil and what is wanted.
local TYPE = {}

function TYPE.texts(value)
  if is_text(value) then return { value } end
  local problem = list_problem(value, is_text, "texts")
  return not problem and value or nil, problem
end

function TYPE.tags(value)
  if is_text(value) then
    local list = {}
    for tag in value:gmatch("[^,%s]+") do list[#list + 1] = tag end
    return list
  end
  return TYPE.texts(value)
end

local function is_need(value)
  return type(value) == "table" and is_text(value[1])
    and (value.everywhere == true or value.on ~= nil and TYPE.texts(value.on) ~= nil)
end

function TYPE.needs(value)
  if is_text(value) or is_need(value) then return { value } end
  local problem = list_problem(value, function(one) return is_text(one) or is_need(one) end, "names of steps")
  return not problem and value or nil, problem
end

function TYPE.callable(value)
  if type(value) == "function" then return value end
  return nil, "a function"
end

function TYPE.resource(value)
  if type(value) == "function" or type(value) == "table" then return value end
  return nil, "a resource, a list of them, or a function that returns one"
end

function TYPE.flag(value)
  if type(value) == "boolean" then return value end
  return nil, "true or false"
end

function TYPE.count(value)
  if is_count(value) then return value end
  return nil, "a whole number, 0 or more"
end

function TYPE.size(value)
  if is_count(value) and value > 0 then return value end
  return nil, "a whole number, 1 or more"
end

function TYPE.seconds(value)
  if type(value) == "number" and value > 0 then return value end
  return nil, "a number of seconds"
end

function TYPE.pause(value)
  if type(value) == "number" and value >= 0 then return value end
  return nil, "a number of seconds"
end

-- No list_problem: it would call a target that is nil amid them a text.
function TYPE.targets(value)
  local count = 0
  for _, one in pairs(type(value) == "table" and value or {}) do
    count = count + 1
    if type(one) ~= "table" or not is_text(one.name) then return nil, "a list of targets, each with its name" end
    if one.groups ~= nil and list_problem(one.groups, is_text, "names") then
      return nil, ("of target %q a list of its groups' names"):format(one.name)
    end
  end
  if type(value) ~= "table" or count ~= #value then return nil, "a list of targets without holes" end
  return value
end

function TYPE.groups(value)
  local wanted = "for each group a list of targets' names"
  if type(value) ~= "table" then return nil, wanted end
  for name, members in pairs(value) do
    if not is_text(name) or list_problem(members, is_text, "names") then return nil, wanted end
  end
  return value
end

function TYPE.text(value)
  if is_text(value) then return value end
  return nil, "a text"
end

local PLAY = { title = "text", targets = "targets", groups = "groups", max_fail = "count" }

local STEP = {
  on = "texts", tags = "tags", needs = "needs", when = "callable", resource = "resource", run = "callable",
  reads = "callable", probe = "callable", apply = "callable", settles = "flag", wait = "callable",
  ensure = "callable", timeout = "seconds", retries = "count", delay = "pause", until_ = "callable",
  notify = "texts", serial = "size", max_parallel = "size", run_once = "flag", makes_target = "flag",
  learns = "flag", check_safe = "flag",
}

local SECTION = { on = "texts", tags = "tags", when = "callable", serial = "size", max_parallel = "size" }

-- Added by the play itself.
local OWN = {
  where = true, section = true, part = true, inherited = true, is_handler = true, is_section = true, steps = true,
  step = true, work = true, limiter = true,
}

-- Words of other tools that mean a field here.
local MEANT = {
  name = "[1]", hosts = "on", targets = "on", nodes = "on", tag = "tags", depends = "needs", depends_on = "needs",
  requires = "needs", after = "needs", register = "results", until_true = "until_", handlers = "notify",
  handler = "notify", throttle = "max_parallel", forks = "max_parallel", func = "run", command = "run",
  async = "timeout", check_mode = "check_safe",
}

-- The same for a play.
local MEANT_BY_PLAY = {
  [1] = "title", name = "title", hosts = "targets", nodes = "targets", on = "targets",
  max_fail_percentage = "max_fail", any_errors_fatal = "max_fail",
}

-- Words of playbooks that are no field, but something of Lua.
local OF_PLAYBOOKS = {}
for word in ([[always any_errors_fatal become become_user block changed_when delegate_to failed_when ignore_errors
  ignore_unreachable listen local_action loop no_log poll rescue vars with_dict with_items]]):gmatch "%S+" do
  OF_PLAYBOOKS[word] = true
end

local function unknown(key, spec, what)
  local allowed = sorted_keys(spec)
  local meant = (spec == PLAY and MEANT_BY_PLAY or MEANT)[key]
  local near = spec[meant] and meant or suggest(tostring(key), allowed)
  local hint = near and (", did you mean %q?"):format(near) or ""
  if key == "name" and spec ~= PLAY then hint = ", its name is its first value" end
  if OF_PLAYBOOKS[key] and not near then hint = ", docs/moving-from-ansible.md tells what stands for it" end
  if key == "register" then hint = ", results[\"step name\"] is what an earlier step returned" end
  local all = table.concat(allowed, ", ")
  return ("a %s has no field %q%s; it may have: %s"):format(what, tostring(key), hint, all), near
end

-- Brings each known field into its one form; what is wrong is told and taken out.
local function normalize(one, spec, what, report)
  for _, key in ipairs(sorted_keys(one)) do
    if spec[key] then
      local value, wanted = TYPE[spec[key]](one[key])
      if value == nil then report(one, ("%s wants %s, not %s"):format(key, wanted, type(one[key]))) end
      one[key] = value
    elseif key ~= 1 and not OWN[key] then
      report(one, (unknown(key, spec, what)))
    end
  end
  if not is_text(one[1]) then report(one, ("a %s's first value is its name"):format(what)) end
end

-- What a step does not say for itself, its section says; tags and conditions add up.
local function inherit(step, section)
  step.inherited = true
  step.on = step.on or section.on
  step.max_parallel = step.max_parallel or section.max_parallel
  if section.tags then
    local tags = { table.unpack(section.tags) }
    step.tags = table.move(step.tags or {}, 1, #(step.tags or {}), #tags + 1, tags)
  end
  if section.when then
    local own, outer = step.when, section.when
    step.when = function(target, results)
      local wanted, reason = outer(target, results)
      if not wanted or not own then return wanted, reason end
      return own(target, results)
    end
  end
end

-- Targets are told apart by their names alone.
local function each_once(targets, report)
  local once, seen = {}, {}
  for _, target in ipairs(targets) do
    if seen[target.name] then
      report(("two of its targets have the name %q: steps would run twice there"):format(target.name))
    else
      once[#once + 1] = target
    end
    seen[target.name] = true
  end
  return once
end

local function check_members(groups, targets, report)
  local known, words = {}, {}
  for i, target in ipairs(targets) do known[target.name], words[i] = true, target.name end
  for _, group in ipairs(sorted_keys(groups)) do
    for _, name in ipairs(groups[group]) do
      if not known[name] then
        local near = suggest(name, words)
        report(("its group %q has %q, which is none of its targets%s"):format(
          group, name, near and (", did you mean %q?"):format(near) or ""))
      end
    end
  end
end

---What a play says of itself, with what is wrong left out.
---@param play pgaf.Play
---@param report fun(step: table, message: string)
---@return { title: string, targets: pgaf.Target[], groups?: table<string, string[]>, max_fail?: integer,
---unsure: boolean } checked unsure: which targets and groups there are is not known
function fields.check_play(play, report)
  local checked, told = { title = "?", targets = {}, unsure = false }, {}
  local head = { is_text(play.title) and play.title or "?", where = play.where, is_play = true }
  local function tell(message) report(head, message) end
  for _, key in ipairs(sorted_keys(play.given)) do
    if not PLAY[key] then
      local message, near = unknown(key, PLAY, "play")
      tell(message)
      if near then told[near] = true end
    end
  end
  for _, key in ipairs(sorted_keys(PLAY)) do
    local value, wanted = play[key]
    if value == nil then
      if (key == "title" or key == "targets") and not told[key] then tell(key .. " is missing") end
    else
      value, wanted = TYPE[PLAY[key]](value)
      if value == nil then tell(("%s wants %s, not %s"):format(key, wanted, type(play[key]))) end
      checked[key] = value == nil and checked[key] or value
    end
    if value == nil and (key == "targets" or (key == "groups" and (play.groups ~= nil or told.groups))) then
      checked.unsure = true
    end
  end
  checked.targets = each_once(checked.targets, tell)
  if not checked.unsure then check_members(checked.groups or {}, checked.targets, tell) end
  return checked
end

---@param section pgaf.Section
---@param report fun(step: table, message: string)
function fields.check_section(section, report) normalize(section, SECTION, "section", report) end

-- How a step says what it does: in exactly one of three ways.
local function check_work(step, what, report)
  local own = step.probe ~= nil or step.ensure ~= nil
  local ways = (step.resource ~= nil and 1 or 0) + ((own or step.run ~= nil) and 1 or 0)
  if ways ~= 1 then
    report(step, ("a %s has either a resource, or a function to run, or a probe (with apply or wait) or ensure of " ..
      "its own"):format(what))
  end
  if step.run and (step.apply or step.wait or step.ensure) then
    report(step, "run does what apply, wait and ensure would: one of them")
  end
  if step.apply and not step.probe then report(step, "apply needs a probe, which tells what differs") end
end

---Checks a step or handler and brings it into the form that the plan is built of.
---@param step pgaf.Step
---@param report fun(step: table, message: string)
function fields.check(step, report)
  local what = step.is_handler and "handler" or "step"
  local had_on = step.on ~= nil
  normalize(step, STEP, what, report)
  if had_on and step.on and #step.on == 0 then report(step, "it runs nowhere: `on` is empty") end
  if step.until_ and step.retries == 0 then report(step, "until_ without retries is asked only once") end
  if step.delay and not (step.retries or step.until_) then report(step, "delay is for retries, and there are none") end
  check_work(step, what, report)
  if step.part and not step.inherited then inherit(step, step.part) end
  step.tags = step.tags or {}
end

return fields
