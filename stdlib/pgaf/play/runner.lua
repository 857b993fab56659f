-- Runs a plan: each item as soon as all it waits for is done. A target on which an item failed drops out: nothing more
-- is begun on it, nor anywhere that needs it.

local error = require "pgafrun.error"
local perform = require "pgaf.play.perform"
local results = require "pgaf.play.results"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local runner = {}

local HEARTBEAT_SECONDS = 10

---How a plan is run.
---@class pgaf.play.Mode
---@field check? boolean nothing is changed: probes tell what would be
---@field diff? boolean before and after of each change are kept in item.changes
---@field ask? fun(step: pgaf.Step): boolean asked before each step: shall it be run?
---@field before_change? fun() called before anything is changed; kind "locked" when it may not be, which ends the run

---@alias pgaf.play.Status "pending"|"running"|"ok"|"changed"|"failed"|"unreachable"|"skipped"|"would"|"deferred"

---@class pgaf.play.Result
---@field items pgaf.Item[]
---@field counts table<string, integer> by status
---@field seconds number
---@field failed boolean
---@field mode pgaf.play.Mode
---@field not_run pgaf.Item[] handlers that were notified and did not run

---@class pgaf.play.Run
local Run = {}
Run.__index = Run

local BAD = { failed = true, unreachable = true }
local TO_COME = { would = true, deferred = true }
local NOTHING = {}
local NEVER = -math.huge

local function place(item) return ("%s on %s"):format(item.step[1], item.target.name) end

-- -------------------------------------------------------------------------------------- what one means for the next

-- The nearest step that would change something, for those that come after it: of those that it needs itself the last.
-- Through a gate it is as near as before.
local function pass_on_pending(item, waiting)
  local is_one = TO_COME[item.status]
  local cause, near = is_one and item or item.pending, is_one or (item.gate and item.pending_is_near)
  if cause and (near or not waiting.pending) then
    waiting.pending, waiting.pending_is_near = cause, near
  end
end

-- What a step has changed, also on another target than its own, is looked at anew by those that come after it.
local function pass_on_change(moment, waiting)
  if moment > (waiting.stale_before or NEVER) then waiting.stale_before = moment end
end

function Run:enqueue(item)
  self.last = self.last + 1
  self.ready[self.last] = item
end

function Run:open(waiting)
  waiting.open = waiting.open - 1
  if waiting.open == 0 then self:enqueue(waiting) end
end

function Run:release(item)
  local moment = math.max(item.changed_at or NEVER, item.stale_before or NEVER)
  for _, waiting in ipairs(item.before or NOTHING) do
    if (BAD[item.status] or item.barred) and not waiting.barred then waiting.barred = item.barred or item end
    if item.gate and item.halted then waiting.halted = item.halted end
    pass_on_pending(item, waiting)
    pass_on_change(moment, waiting)
    self:open(waiting)
  end
  for _, waiting in ipairs(item.soft or NOTHING) do
    pass_on_change(moment, waiting)
    self:open(waiting)
  end
  for _, gate in ipairs(item.batch_gates or NOTHING) do
    -- what fails in a batch keeps the later ones from beginning; who had dropped out before does not
    local cause = BAD[item.status] and item or item.halted
    if cause and not gate.halted then gate.halted, gate.barred = cause, cause end
    pass_on_change(moment, gate)
    self:open(gate)
  end
end

-- Begins what has become ready. A list and no recursion: a failure can set thousands free at once.
function Run:drain()
  if self.draining then return end
  self.draining = true
  while self.first <= self.last do
    local item = self.ready[self.first]
    self.ready[self.first] = nil
    self.first = self.first + 1
    self:start(item)
  end
  self.draining = false
end

-- Of a step with max_parallel: the next one in the queue gets the place.
function Run:leave(item)
  local limiter = item.step.limiter
  if not limiter or not item.entered then return end
  if item.status == "running" then limiter.running = limiter.running - 1 end
  local next_one = limiter.queue[limiter.head]
  if next_one then
    limiter.queue[limiter.head] = nil
    limiter.head = limiter.head + 1
    self:enqueue(next_one)
  end
end

function Run:settle(item, status, detail)
  if not item.gate then self:leave(item) end
  item.status, item.detail = status, detail
  item.seconds = item.started and time.now() - item.started or 0
  if item.work then self.report:finished(item) end
  self:release(item)
  self:drain()
end

-- ------------------------------------------------------------------------------------------------------- beginning

-- The failure that keeps an item from being begun, and in words.
function Run:obstacle(item)
  local cause = item.barred or self.dropped[item.target]
  if cause then return cause, "after the failure of " .. place(cause) end
  if self.halted then
    return self.halted, ("%d targets have failed, and at most %d may"):format(self.failures, self.plan.max_fail)
  end
  return nil
end

-- Who of those that may notify a handler did: has changed something, would, or may yet.
local function notifiers(item)
  local did, may
  for _, list in ipairs { item.notifiers, item.others } do
    for _, from in ipairs(list) do
      if from.status == "changed" or from.status == "would" or (from.touched and BAD[from.status]) then
        did = did or from
      elseif from.status == "deferred" then
        may = may or from
      end
    end
  end
  return did, may
end

-- A handler that nobody notified is none; one that was and cannot run is told.
function Run:start_handler(item)
  local did, may = notifiers(item)
  if not did and not may then return self:settle(item, "skipped", "not notified") end
  local cause, words = self:obstacle(item)
  if cause then
    item.barred = cause
    self.not_run[#self.not_run + 1] = item
    return self:settle(item, "skipped", ("notified by %s, and not run: %s"):format((did or may).step[1], words))
  end
  if self.mode.check and did then return self:settle(item, "would", "would run, notified by " .. did.step[1]) end
  if self.mode.check then
    return self:settle(item, "deferred", ("would run after %s, if that changes anything"):format(place(may)))
  end
  return self:enter(item)
end

function Run:start(item)
  if item.gate then
    item.status = "ok"
    return self:release(item)
  end
  if not item.work then
    if item.handler and notifiers(item) then self.not_run[#self.not_run + 1] = item end
    return self:settle(item, "skipped", "left out")
  end
  if item.handler then return self:start_handler(item) end
  local cause, words = self:obstacle(item)
  if cause then
    item.barred = cause
    return self:settle(item, "skipped", words)
  end
  local maker = self.unmade[item.target]
  if maker then return self:defer(item, maker) end
  return self:enter(item)
end

-- At once, or where only so many may run side by side, when it is its turn.
function Run:enter(item)
  local limiter = item.step.limiter
  item.entered = true
  if limiter and limiter.running >= limiter.max then
    limiter.tail = limiter.tail + 1
    limiter.queue[limiter.tail] = item
    return
  end
  if limiter then limiter.running = limiter.running + 1 end
  item.status = "running"
  self.group:spawn_named(place(item), self.perform, self, item)
end

-- --------------------------------------------------------------------------------------------------------- working

function Run:defer(item, cause) self:settle(item, "deferred", "would run after " .. place(cause)) end

-- Kinds of errors that a machine which is not there leads to; the provider is asked whether that is so.
local MAY_BE_AWAY = { absent = true, closed = true, network = true, process = true, state = true, timeout = true }

local function is_unreachable(item, raised)
  if error.is(raised, "unreachable") then return true end
  local node = item.target.node
  if item.step.makes_target or not node or not error.is(raised) or not MAY_BE_AWAY[raised.kind] then return false end
  local ok, status = pcall(node.status, node)
  if not ok then perform.pass_on_ending(status) end
  return not ok or status ~= "running"
end

function Run:fail(item, raised)
  local later = self.mode.check and (error.is(raised, "pending") and raised.item or item.pending)
  if later then return self:defer(item, later) end
  item.error = raised
  local status = is_unreachable(item, raised) and "unreachable" or "failed"
  if not self.dropped[item.target] then
    self.dropped[item.target] = item
    self.failures = self.failures + 1
    if self.plan.max_fail and self.failures > self.plan.max_fail then self.halted = self.halted or item end
  end
  return self:settle(item, status, raised)
end

-- What a step is given to speak with.
function Run:context(item)
  local report, known = self.report, self.results[item.target]
  if not known then
    known = results.new(self.plan, item.target)
    self.results[item.target] = known
  end
  return {
    results = known,
    tell = function(text, fraction)
      if report.progress then report:progress(item, text, fraction) end
    end,
    retrying = function(attempt, raised)
      if report.retrying then report:retrying(item, attempt, raised) end
    end,
  }
end

function Run:perform(item)
  if self.mode.ask and not self.mode.ask(item.step) then
    return self:settle(item, "skipped", "you said no")
  end
  item.started = time.now()
  self.report:started(item)
  if item.stale_before and item.target.facts then item.target.facts:forget_before(item.stale_before) end
  local ok, status, detail = perform.try(perform.item, item, self.mode, self:context(item))
  if not ok then
    -- a step's own deadline is its failure; the run's is not
    perform.pass_on_ending(status)
    return self:fail(item, status)
  end
  if status == "would" and item.step.makes_target then self.unmade[item.target] = item end
  return self:settle(item, status, detail)
end

function Run:at_work()
  local running = {}
  for _, item in ipairs(self.plan.items) do
    if item.status == "running" and item.started then running[#running + 1] = item end
  end
  return running
end

-- Handlers that an interruption leaves undone.
function Run:still_notified()
  local list = {}
  for _, item in ipairs(self.plan.items) do
    if item.handler and item.status == "pending" and notifiers(item) then list[#list + 1] = item end
  end
  return list
end

-- Long steps say from time to time that they are still at work.
local function heartbeat(self)
  while true do
    task.sleep(self.report.heartbeat or HEARTBEAT_SECONDS)
    self.report:still_running(self:at_work())
  end
end

-- --------------------------------------------------------------------------------------------------------- the whole

local TRACES = {
  "barred", "halted", "error", "started", "pending", "pending_is_near", "detail", "changes", "value", "touched",
  "attempt", "entered", "changed_at", "stale_before",
}

-- What an earlier run of the same plan left.
local function reset(plan)
  for _, item in ipairs(plan.all) do
    item.open, item.status = #item.after, "pending"
    for _, field in ipairs(TRACES) do item[field] = nil end
  end
  for _, step in ipairs(plan.steps) do
    local limiter = step.limiter
    if limiter then limiter.running, limiter.queue, limiter.head, limiter.tail = 0, {}, 1, 0 end
  end
end

local function count(items)
  local counts = { ok = 0, changed = 0, failed = 0, unreachable = 0, skipped = 0, would = 0, deferred = 0 }
  for _, item in ipairs(items) do counts[item.status] = counts[item.status] + 1 end
  return counts
end

-- Begins with what waits for nothing, and waits for all the rest.
local function work_off(self)
  local group <close> = task.group { name = self.plan.title }
  self.group = group
  for _, item in ipairs(self.plan.all) do
    if item.open == 0 then self:enqueue(item) end
  end
  self:drain()
end

---@param plan pgaf.Plan
---@param report pgaf.play.Report
---@param mode? pgaf.play.Mode
---@return pgaf.play.Result
function runner.run(plan, report, mode)
  local started = time.now()
  local run = setmetatable({
    plan = plan, report = report, mode = mode or {}, dropped = {}, unmade = {}, failures = 0, not_run = {},
    results = {}, ready = {}, first = 1, last = 0,
  }, Run)
  reset(plan)
  report:begin(plan, run.mode)
  local ended = false
  local _ <close> = setmetatable({}, {
    __close = function()
      if not ended then report:interrupted(run:at_work(), run:still_notified()) end
    end,
  })
  do
    local beats <close> = task.group { name = "still at work" }
    local beat = beats:spawn(heartbeat, run)
    work_off(run)
    beat:cancel()
  end
  ended = true
  local counts = count(plan.items)
  local result = {
    items = plan.items, counts = counts, seconds = time.now() - started, mode = run.mode, not_run = run.not_run,
    failed = counts.failed + counts.unreachable > 0,
  }
  report:finish(result)
  return result
end

return runner
