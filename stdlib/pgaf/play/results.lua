-- What earlier steps came to, for those that run later: results["step name"] on the same target, results:of("step",
-- "target") on another. Asked for what cannot be known, it says so and never guesses.

local error = require "pgafrun.error"
local suggest = require "pgaf.suggest"

local results = {}

---Indexed by a step's name: what its function returned; what was done by its resource, nil when it was so already.
---@class pgaf.play.Results
local METHODS = {}

local function find(plan, name, target_name)
  local here = plan.index[name]
  if not here then
    local near = suggest(tostring(name), plan:step_names())
    error.raise {
      kind = "plan", message = ("there is no step %q whose result could be known%s"):format(
        tostring(name), near and (", did you mean %q?"):format(near) or ""),
    }
  end
  return here.on[target_name] or (here.step.run_once and here.items[1]) or nil
end

local function look_up(plan, name, target_name)
  local item = find(plan, name, target_name)
  if not item then return nil end
  local place = ("%s on %s"):format(name, item.target.name)
  if item.status == "pending" or item.status == "running" then
    error.raise {
      kind = "plan", message = ("%s has not ended, and its result is asked for"):format(place),
      hint = ("name it in what comes after it: needs = { %q }"):format(name),
    }
  end
  if not item.work then
    error.raise {
      kind = "left out", message = ("%s is left out of this run, and its result is asked for"):format(place),
      hint = "tag that step `always`, or run without --tags, --skip-tags and --start-at",
    }
  end
  if item.status == "would" or item.status == "deferred" then
    error.raise { kind = "pending", message = ("%s has no result before it has run"):format(place), item = item }
  end
  return item
end

---The result of a step on another target.
---@param step string
---@param target string
---@return any
function METHODS:of(step, target)
  local item = look_up(self.plan, step, target)
  return item and item.value
end

---Has it changed something?
---@param step string
---@param target? string default: this one
---@return boolean
function METHODS:changed(step, target)
  local item = look_up(self.plan, step, target or self.target)
  return item ~= nil and item.status == "changed"
end

local META = {}

function META.__index(self, name)
  if METHODS[name] then return METHODS[name] end
  local item = look_up(rawget(self, "plan"), name, rawget(self, "target"))
  return item and item.value
end

---@param plan pgaf.Plan
---@param target pgaf.Target
---@return pgaf.play.Results
function results.new(plan, target) return setmetatable({ plan = plan, target = target.name }, META) end

return results
