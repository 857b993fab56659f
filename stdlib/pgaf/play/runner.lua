-- Runs a plan: each item as soon as all it waits for is done. A target on which an item failed drops out: nothing more
-- is begun on it, nor anywhere that needs it.

local error = require "pgafrun.error"
local perform = require "pgaf.play.perform"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local runner = {}

local HEARTBEAT_SECONDS = 10

---How a plan is run.
---@class pgaf.play.Mode
---@field check? boolean nothing is changed: probes tell what would be
---@field diff? boolean before and after of each change are kept in item.changes

---@alias pgaf.play.Status "pending"|"running"|"ok"|"changed"|"failed"|"unreachable"|"skipped"|"would"|"deferred"

---@class pgaf.play.Result
---@field items pgaf.Item[]
---@field counts table<string, integer> by status
---@field seconds number
---@field failed boolean
---@field mode pgaf.play.Mode

---@class pgaf.play.Run
local Run = {}
Run.__index = Run

local BAD = { failed = true, unreachable = true }
local TO_COME = { would = true, deferred = true }

-- The nearest step that would change something, for those that come after it.
local function pass_on_pending(item, waiting)
  if TO_COME[item.status] then
    if not waiting.pending or not waiting.pending_is_near then
      waiting.pending, waiting.pending_is_near = item, true
    end
  elseif item.pending and not waiting.pending then
    waiting.pending = item.pending
  end
end

function Run:settle(item, status, detail)
  item.status, item.detail = status, detail
  item.seconds = item.started and time.now() - item.started or 0
  if item.resources then self.report:finished(item) end
  for _, waiting in ipairs(item.before) do
    waiting.open = waiting.open - 1
    if (BAD[status] or item.barred) and not waiting.barred then waiting.barred = item.barred or item end
    pass_on_pending(item, waiting)
    if waiting.open == 0 then self:start(waiting) end
  end
end

function Run:defer(item, cause)
  self:settle(item, "deferred", ("would run after %s on %s"):format(cause.step[1], cause.target.name))
end

function Run:start(item)
  if not item.resources then return self:settle(item, "skipped", "left out") end
  local cause = item.barred or self.dropped[item.target]
  if cause then
    item.barred = cause
    return self:settle(item, "skipped", ("after the failure of %s on %s"):format(cause.step[1], cause.target.name))
  end
  local maker = self.unmade[item.target]
  if maker then return self:defer(item, maker) end
  item.status = "running"
  self.group:spawn_named(item.step[1] .. " on " .. item.target.name, self.perform, self, item)
end

-- Kinds of errors that a machine which is not there leads to; the provider is asked whether that is so.
local MAY_BE_AWAY = { absent = true, closed = true, network = true, process = true, state = true, timeout = true }

local function is_unreachable(item, raised)
  if error.is(raised, "unreachable") then return true end
  local node = item.target.node
  if item.step.makes_target or not node or not error.is(raised) or not MAY_BE_AWAY[raised.kind] then return false end
  local ok, status = pcall(node.status, node)
  if not ok then perform.pass_on_cancellation(status) end
  return not ok or status ~= "running"
end

function Run:fail(item, raised)
  if self.mode.check and item.pending then return self:defer(item, item.pending) end
  self.dropped[item.target] = self.dropped[item.target] or item
  item.error = raised
  self:settle(item, is_unreachable(item, raised) and "unreachable" or "failed", raised)
end

function Run:perform(item)
  item.started = time.now()
  self.report:started(item)
  local function tell(text, fraction)
    if self.report.progress then self.report:progress(item, text, fraction) end
  end
  local ok, status, detail = perform.try(perform.item, item, self.mode, tell)
  if not ok then
    -- a step's own deadline is its failure; a cancellation, or the run's deadline, ends the run
    perform.pass_on_cancellation(status)
    return self:fail(item, status)
  end
  if status == "would" and item.step.makes_target then self.unmade[item.target] = item end
  self:settle(item, status, detail)
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
    task.sleep(self.report.heartbeat or HEARTBEAT_SECONDS)
    self.report:still_running(self:at_work())
  end
end

local function reset(items)
  for _, item in ipairs(items) do
    item.open, item.status = #item.after, "pending"
    item.barred, item.error, item.started, item.pending, item.pending_is_near = nil, nil, nil, nil, nil
    item.detail, item.changes = nil, nil
  end
end

local function count(items)
  local counts = { ok = 0, changed = 0, failed = 0, unreachable = 0, skipped = 0, would = 0, deferred = 0 }
  for _, item in ipairs(items) do counts[item.status] = counts[item.status] + 1 end
  return counts
end

---@param plan pgaf.Plan
---@param report pgaf.play.Report
---@param mode? pgaf.play.Mode
---@return pgaf.play.Result
function runner.run(plan, report, mode)
  local started = time.now()
  local run = setmetatable({ plan = plan, report = report, mode = mode or {}, dropped = {}, unmade = {} }, Run)
  report:begin(plan, run.mode)
  local ended = false
  local _ <close> = setmetatable({}, {
    __close = function()
      if not ended then report:interrupted(run:at_work()) end
    end,
  })
  reset(plan.all)
  do
    local beats <close> = task.group { name = "still at work" }
    local beat = beats:spawn(heartbeat, run)
    do
      local group <close> = task.group { name = plan.title }
      run.group = group
      for _, item in ipairs(plan.all) do
        if #item.after == 0 then run:start(item) end
      end
    end
    beat:cancel()
  end
  ended = true
  local counts = count(plan.items)
  local result = {
    items = plan.items, counts = counts, seconds = time.now() - started, mode = run.mode,
    failed = counts.failed + counts.unreachable > 0,
  }
  report:finish(result)
  return result
end

return runner
