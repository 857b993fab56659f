-- One step on one target: looked at, changed where it differs, looked at again. In check mode the same way with the
-- last two left out: what would be done is told by the probe alone.

local throw = error
local error = require "pgafrun.error"
local failure = require "pgaf.failure"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local perform = {}

local DEFAULT_TIMEOUT = 300
local DEFAULT_RETRIES = 3 -- of a step with until_
local DEFAULT_DELAY = 1

---Calls f(...) and turns a plain string that it raises into an error with its traceback.
---@param f function
---@param ... any
---@return boolean ok, any result or error
function perform.try(f, ...) return failure.try(f, ...) end

---What ends the run and is nothing of a step's: a cancellation, the run's own deadline, or that somebody else has the
---lock.
---@param raised any
function perform.pass_on_ending(raised)
  task.check()
  if error.is(raised, "cancelled") or error.is(raised, "locked") then throw(raised, 0) end
end

local function place(item) return item.step[1] .. " on " .. item.target.name end

local function snapshot(item, resource)
  local facts = item.target.facts
  return facts and facts:fetch(resource.reads) or {}
end

local function forget(item)
  local facts = item.target.facts
  if facts then facts:forget() end
  return facts and facts.forgotten_at or time.now()
end

local function about_to_change(mode)
  if mode.before_change then mode.before_change() end
end

-- From here on something may have changed, also when the rest fails.
local function touched(item)
  item.touched = true
  item.changed_at = forget(item)
end

-- With --diff: before and after of what differs. A change that cannot be shown is still made, and said to be so.
local function note_changes(item, resource, facts, mode)
  if not mode.diff or not resource.changes then return end
  local ok, list = perform.try(resource.changes, resource, item.target, facts)
  if not ok then
    perform.pass_on_ending(list)
    list = { { what = ("%s (cannot be shown: %s)"):format(
      resource.name or item.step[1], tostring(list):match("^[^\n]*")) } }
  end
  item.changes = item.changes or {}
  table.move(list, 1, #list, #item.changes + 1, item.changes)
end

-- Also where the probe finds no difference: what is there already may still have to become ready.
local function ensure(item, resource, mode, context)
  local facts = resource.probe and snapshot(item, resource)
  local difference = facts and resource:probe(item.target, facts)
  if difference or not facts then about_to_change(mode) end
  if difference then note_changes(item, resource, facts, mode) end
  local done = resource:ensure(item.target, context.tell, difference)
  if done then touched(item) end
  return done
end

local function verify(item, resource)
  local left = resource:probe(item.target, snapshot(item, resource))
  if not left then return end
  error.raise {
    kind = "verify", operation = place(item), message = ("was applied, and still differs: %s"):format(left),
  }
end

-- Brings one resource to what is wanted; nil when it was so, else what was done.
local function converge(item, resource, mode, context)
  if resource.ensure then return ensure(item, resource, mode, context) end
  local target, facts = item.target, snapshot(item, resource)
  local difference = resource:probe(target, facts)
  if not difference then return nil end
  if resource.wait then
    resource:wait(target, context.tell)
    if target.facts then target.facts:forget() end
    return nil
  end
  if not resource.apply then
    error.raise { kind = "drift", message = difference, operation = place(item) }
  end
  about_to_change(mode)
  note_changes(item, resource, facts, mode)
  local ok, done = perform.try(resource.apply, resource, target, difference, facts, context.tell)
  touched(item)
  if not ok then throw(done, 0) end
  if not resource.settles then verify(item, resource) end
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
local function resources(item, mode, context)
  local done
  for _, resource in ipairs(item.work.resources) do
    local ok, one = true
    if not mode.check then
      one = converge(item, resource, mode, context)
    elseif not done then
      one = foresee(item, resource, mode)
    else
      ok, one = perform.try(foresee, item, resource, mode)
    end
    if not ok then
      perform.pass_on_ending(one)
      return done .. "; what follows in this step can be looked at only then"
    end
    if one then done = done and done .. "; " .. one or one end
  end
  if done then item.value = done end
  return done
end

-- A step that is a function; with a probe it runs only where that finds a difference.
local function call(item, mode, context)
  local step, target = item.step, item.target
  local resource = item.work.resources[1]
  if resource then
    local difference = resource:probe(target, snapshot(item, resource))
    if not difference then return nil end
    if mode.check then return difference end
  elseif mode.check and not step.check_safe then
    return "would run"
  end
  if not step.check_safe then about_to_change(mode) end
  local ok, value, changed = failure.try(step.run, target, context.results)
  if not ok then
    if not step.check_safe then item.changed_at = forget(item) end
    throw(value, 0)
  end
  item.value = value
  -- what says nothing of it has changed something, unless it is known never to
  if changed == nil then changed = not step.check_safe end
  if not changed then return nil end
  touched(item)
  if resource and not step.settles then verify(item, resource) end
  return type(changed) == "string" and changed or type(value) == "string" and value ~= "" and value or "ran"
end

local function once(item, mode, context)
  local looking = item.only_looked_at and { check = true } or mode
  local does = item.step.run and call or resources
  return task.timeout(item.step.timeout or DEFAULT_TIMEOUT, does, item, looking, context)
end

local function shown(value) return type(value) == "table" and "a table" or tostring(value) end

-- Tries again what failed, or is not yet so: `retries`, `until_`, `delay`.
local function persist(item, mode, context)
  local step = item.step
  local asks = step.until_ and (not mode.check or step.check_safe)
  local last = (step.retries or (step.until_ and DEFAULT_RETRIES) or 0) + 1
  if last == 1 and not asks then return once(item, mode, context) end -- nothing to catch
  for attempt = 1, last do
    item.attempt = last > 1 and attempt or nil
    local ok, done = perform.try(once, item, mode, context)
    local reason = done
    if ok then
      if not asks or step.until_(item.value, item.target) then return done or (item.touched and "changed it") end
      reason = error.new {
        kind = "until", operation = place(item),
        message = ("not so after %d %s: it came to %s"):format(
          attempt, attempt == 1 and "attempt" or "attempts", shown(item.value)),
      }
    else
      perform.pass_on_ending(done)
      -- trying again mends no mistake in a script, and not what an earlier step has still to do
      if error.is(done, "script") or error.is(done, "plan") or (mode.check and item.pending) then throw(done, 0) end
    end
    if attempt == last then throw(reason, 0) end
    context.retrying(attempt, reason)
    task.sleep(step.delay or DEFAULT_DELAY)
    forget(item) -- what is waited for, nobody here brings about
  end
end

---Does it, or in check mode looks what doing it would change. Raises what went wrong.
---@param item pgaf.Item
---@param mode pgaf.play.Mode
---@param context { tell: function, retrying: function, results: pgaf.play.Results }
---@return pgaf.play.Status status, string? detail
function perform.item(item, mode, context)
  local step = item.step
  if step.when then
    local wanted, reason = task.timeout(step.timeout or DEFAULT_TIMEOUT, step.when, item.target, context.results)
    if not wanted then return "skipped", reason or "not wanted here" end
  end
  local done = persist(item, mode, context)
  if not done then return "ok" end
  if item.only_looked_at then
    error.raise {
      kind = "left out", operation = place(item), message = ("it is left out, and not as wanted: %s"):format(done),
      hint = "later steps need what it would bring about: run the play once without --tags, --limit and --start-at",
    }
  end
  return mode.check and "would" or "changed", done
end

return perform
