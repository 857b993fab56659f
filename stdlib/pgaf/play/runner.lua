-- Runs a plan: each item as soon as all it waits for is done. A target on which an item failed drops out: nothing more
-- is begun on it, nor anywhere that needs it.

local throw = error
local error = require "pgafrun.error"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local runner = {}

local DEFAULT_TIMEOUT = 300
local HEARTBEAT_SECONDS = 10

---@class pgaf.play.Result
---@field items pgaf.Item[]
---@field counts table<string, integer> by status
---@field seconds number
---@field failed boolean

-- A mistake in a script is a plain string: its place is lost unless it is kept here.
local function with_traceback(raised)
  if type(raised) ~= "string" then return raised end
  return error.new { kind = "script", message = raised, traceback = debug.traceback(nil, 2) }
end

local function snapshot(item, resource)
  local facts = item.target.facts
  return facts and facts:fetch(resource.reads) or {}
end

-- Brings one resource to what is wanted; nil when it was so, else what was done.
local function converge(item, resource)
  local target = item.target
  if resource.ensure then
    local done = resource:ensure(target)
    if done and target.facts then target.facts:forget() end
    return done
  end
  local facts = snapshot(item, resource)
  local difference = resource:probe(target, facts)
  if not difference then return nil end
  if resource.wait then
    resource:wait(target)
    if target.facts then target.facts:forget() end
    return nil
  end
  if not resource.apply then
    error.raise { kind = "drift", message = difference, operation = item.step[1] .. " on " .. target.name }
  end
  local ok, done = xpcall(resource.apply, with_traceback, resource, target, difference, facts)
  -- also after a failure: it may have changed a part
  if target.facts then target.facts:forget() end
  if not ok then throw(done, 0) end
  if not resource.settles then
    local left = resource:probe(target, snapshot(item, resource))
    if left then
      error.raise {
        kind = "verify", operation = item.step[1] .. " on " .. target.name,
        message = ("was applied, and still differs: %s"):format(left),
      }
    end
  end
  return done or difference
end

local function work(item)
  local done
  for _, resource in ipairs(item.resources) do
    local one = converge(item, resource)
    if one then done = done and done .. "; " .. one or one end
  end
  return done
end

---@class pgaf.play.Run
local Run = {}
Run.__index = Run

function Run:settle(item, status, detail)
  item.status, item.detail = status, detail
  item.seconds = item.started and time.now() - item.started or 0
  self.report:finished(item)
  for _, waiting in ipairs(item.before) do
    waiting.open = waiting.open - 1
    if (status == "failed" or item.barred) and not waiting.barred then waiting.barred = item.barred or item end
    if waiting.open == 0 then self:start(waiting) end
  end
end

function Run:start(item)
  local cause = item.barred or self.dropped[item.target]
  if cause then
    item.barred = cause
    return self:settle(item, "skipped", ("after the failure of %s on %s"):format(cause.step[1], cause.target.name))
  end
  item.status = "running"
  self.group:spawn_named(item.step[1] .. " on " .. item.target.name, self.perform, self, item)
end

function Run:perform(item)
  item.started = time.now()
  self.report:started(item)
  local step = item.step
  local ok, result = xpcall(function()
    local wanted, reason = true, nil
    if step.when then wanted, reason = step.when(item.target) end
    if not wanted then return { skipped = reason or "not wanted here" } end
    return { done = task.timeout(step.timeout or DEFAULT_TIMEOUT, work, item) }
  end, with_traceback)
  if not ok then
    -- a step's own deadline is its failure; a cancellation, or the run's deadline, ends the run
    task.check()
    if error.is(result, "cancelled") then throw(result, 0) end
    self.dropped[item.target] = self.dropped[item.target] or item
    item.error = result
    return self:settle(item, "failed", result)
  end
  if result.skipped then return self:settle(item, "skipped", result.skipped) end
  self:settle(item, result.done and "changed" or "ok", result.done)
end

function Run:at_work()
  local running = {}
  for _, item in ipairs(self.plan.items) do
    if item.status == "running" and item.started then running[#running + 1] = item end
  end
  return running
end

-- Long steps say from time to time that they are still at work.
local function heartbeat(self)
  while true do
    task.sleep(HEARTBEAT_SECONDS)
    self.report:still_running(self:at_work())
  end
end

---@param plan pgaf.Plan
---@param report pgaf.play.Report
---@return pgaf.play.Result
function runner.run(plan, report)
  local started = time.now()
  local run = setmetatable({ plan = plan, report = report, dropped = {} }, Run)
  report:begin(plan)
  local ended = false
  local _ <close> = setmetatable({}, {
    __close = function()
      if not ended then report:interrupted(run:at_work()) end
    end,
  })
  do
    local beats <close> = task.group { name = "still at work" }
    local beat = beats:spawn(heartbeat, run)
    do
      local group <close> = task.group { name = plan.title }
      run.group = group
      for _, item in ipairs(plan.items) do
        item.open, item.status, item.barred, item.error, item.started = #item.after, "pending", nil, nil, nil
      end
      for _, item in ipairs(plan.items) do
        if #item.after == 0 then run:start(item) end
      end
    end
    beat:cancel()
  end
  ended = true
  local counts = { ok = 0, changed = 0, failed = 0, skipped = 0 }
  for _, item in ipairs(plan.items) do counts[item.status] = counts[item.status] + 1 end
  local result = { items = plan.items, counts = counts, seconds = time.now() - started, failed = counts.failed > 0 }
  report:finish(result)
  return result
end

return runner
