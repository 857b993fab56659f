-- One step on one target: looked at, changed where it differs, looked at again. In check mode the same way with the
-- last two left out: what would be done is told by the probe alone.

local throw = error
local error = require "pgafrun.error"
local task = require "pgafrun.task"

local perform = {}

local DEFAULT_TIMEOUT = 300

-- A mistake in a script is a plain string: its place is lost unless it is kept here.
local function with_traceback(raised)
  if type(raised) ~= "string" then return raised end
  return error.new { kind = "script", message = raised, traceback = debug.traceback(nil, 2) }
end

---Calls f(...) and turns a plain string that it raises into an error with its traceback.
---@param f function
---@param ... any
---@return boolean ok, any result or error
function perform.try(f, ...) return xpcall(f, with_traceback, ...) end

---What a cancellation or the run's own deadline raised: nothing of a step's.
---@param raised any
function perform.pass_on_cancellation(raised)
  task.check()
  if error.is(raised, "cancelled") then throw(raised, 0) end
end

local function place(item) return item.step[1] .. " on " .. item.target.name end

local function snapshot(item, resource)
  local facts = item.target.facts
  return facts and facts:fetch(resource.reads) or {}
end

local function forget(item)
  if item.target.facts then item.target.facts:forget() end
end

-- With --diff: before and after of what differs. A change that cannot be shown is still made, and said to be so.
local function note_changes(item, resource, facts, mode)
  if not mode.diff or not resource.changes then return end
  local ok, list = perform.try(resource.changes, resource, item.target, facts)
  if not ok then
    perform.pass_on_cancellation(list)
    list = { { what = ("%s (cannot be shown: %s)"):format(
      resource.name or item.step[1], tostring(list):match("^[^\n]*")) } }
  end
  item.changes = item.changes or {}
  table.move(list, 1, #list, #item.changes + 1, item.changes)
end

-- Brings one resource to what is wanted; nil when it was so, else what was done.
local function converge(item, resource, mode, tell)
  local target = item.target
  if resource.ensure then
    if mode.diff and resource.probe and resource.changes then
      local facts = snapshot(item, resource)
      if resource:probe(target, facts) then note_changes(item, resource, facts, mode) end
    end
    local done = resource:ensure(target, tell)
    if done then forget(item) end
    return done
  end
  local facts = snapshot(item, resource)
  local difference = resource:probe(target, facts)
  if not difference then return nil end
  if resource.wait then
    resource:wait(target, tell)
    forget(item)
    return nil
  end
  if not resource.apply then
    error.raise { kind = "drift", message = difference, operation = place(item) }
  end
  note_changes(item, resource, facts, mode)
  local ok, done = perform.try(resource.apply, resource, target, difference, facts, tell)
  -- also after a failure: it may have changed a part
  forget(item)
  if not ok then throw(done, 0) end
  if not resource.settles then
    local left = resource:probe(target, snapshot(item, resource))
    if left then
      error.raise {
        kind = "verify", operation = place(item), message = ("was applied, and still differs: %s"):format(left),
      }
    end
  end
  return done or difference
end

-- What converge would do; nil: nothing.
local function foresee(item, resource, mode)
  if not resource.probe then return "would run: it cannot be looked at without doing it" end
  local facts = snapshot(item, resource)
  local difference = resource:probe(item.target, facts)
  if not difference then return nil end
  if resource.wait then
    -- what is waited for may come of a step that is still to run
    if item.pending then error.raise { kind = "pending", operation = place(item), message = difference } end
    return "would wait: " .. difference
  end
  if not resource.apply and not resource.ensure then
    error.raise { kind = "drift", message = difference, operation = place(item) }
  end
  note_changes(item, resource, facts, mode)
  return difference
end

-- All resources of the step; in check mode those after one that would change may not be there to be looked at.
local function each(item, mode, tell)
  local done
  for _, resource in ipairs(item.resources) do
    local ok, one
    if mode.check then
      ok, one = perform.try(foresee, item, resource, mode)
      if not ok then
        perform.pass_on_cancellation(one)
        if not done then throw(one, 0) end
        return done .. "; what follows in this step can be looked at only then"
      end
    else
      one = converge(item, resource, mode, tell)
    end
    if one then done = done and done .. "; " .. one or one end
  end
  return done
end

---Does it, or in check mode looks what doing it would change. Raises what went wrong.
---@param item pgaf.Item
---@param mode pgaf.play.Mode
---@param tell fun(text: string, fraction?: number)
---@return pgaf.play.Status status, string? detail
function perform.item(item, mode, tell)
  local step = item.step
  if step.when then
    local wanted, reason = step.when(item.target)
    if not wanted then return "skipped", reason or "not wanted here" end
  end
  local looking = mode
  if item.only_looked_at then looking = { check = true } end
  local done = task.timeout(step.timeout or DEFAULT_TIMEOUT, each, item, looking, tell)
  if not done then return "ok" end
  if mode.check then return "would", done end
  if item.only_looked_at then
    error.raise {
      kind = "left out", operation = place(item), message = ("it is left out, and not as wanted: %s"):format(done),
      hint = "later steps need what it would bring about: run the play once without --tags, --limit and --start-at",
    }
  end
  return "changed", done
end

return perform
