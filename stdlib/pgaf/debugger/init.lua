-- A person's look into a task that stands still: at a breakpoint(), or where it fails.
--
-- The task stands, all others go on. The prompt is a task of its own (task.interlude), on the terminal or in a
-- `pgafrun attach`, whichever there is; of several tasks that stop, one after the other gets it.

local error = require "pgafrun.error"
local failure = require "pgaf.failure"
local log = require "pgafrun.log"
local stop = require "pgaf.debugger.stop"
local task = require "pgafrun.task"
local terminal = require "pgaf.debugger.terminal"

local debugger = {}

-- What ends a script on purpose, or says that its user made a mistake, is nothing to look into.
local NO_FAILURES = { cancelled = true, exit = true, usage = true, inventory = true }

local offered = {} -- prompts that are there, oldest first
local seen = setmetatable({}, { __mode = "k" }) -- failures that were shown already
local last_mistake -- the text of the last one in a script: it is a plain text before it is made an error
local busy, freed = false, task.condition()

---@class pgaf.debugger.Front where a prompt can be shown
---@field read fun(self, prompt: string): string? waits for a line; nil: there will be none, the task goes on
---@field write fun(self, text: string) must not wait
---@field foreground fun(self, t: pgafrun.Task?) the task that its user can interrupt from now on
---@field completes fun(self, session: pgaf.repl.Session?) who knows what the input may go on with
---@field columns fun(self): integer
---@field owner? table who has had the terminal before, where that is so
---@field leave fun(self) the conversation is over

---A prompt that is there, of another process or of this one, can take stopped tasks, until it is withdrawn.
---@param front pgaf.debugger.Front
function debugger.offer(front) offered[#offered + 1] = front end

---@param front pgaf.debugger.Front
function debugger.withdraw(front)
  for i, one in ipairs(offered) do
    if one == front then return table.remove(offered, i) end
  end
end

-- One that was given no name is called "task 7" already.
local function task_name()
  local label = task.current():label()
  return label:find "^task %d+$" and label or "task " .. label
end

local function pass(told)
  log.warn(("%s: passed, because there is neither a terminal nor an attached prompt to stop at"):format(told))
end

local function converse(stopped, front)
  local ok, problem = pcall(stop.converse, stopped, front)
  front:leave()
  if not ok and not error.is(problem, "cancelled") then log.warn("the prompt failed: " .. tostring(problem)) end
end

-- What has the terminal already comes first: it may have read ahead.
local function choose()
  for _, front in ipairs(offered) do
    if front.owner then return front end
  end
  return terminal.open() or offered[1]
end

local function with_prompt(stopped)
  while busy do freed:wait() end
  busy = true
  local _ <close> = setmetatable({}, { __close = function()
    busy = false
    freed:notify(1)
  end })
  local front = choose()
  if not front then return pass(stopped.told) end
  converse(stopped, front)
end

-- The stack is the caller's; `marker` is the function of this module that was called on it.
local function stand_still(told, marker, problem)
  if not busy and #offered == 0 and not terminal.is_there() then return pass(told) end
  local stopped = stop.new {
    co = coroutine.running(), marker = marker, problem = problem, label = task.current():label(), told = told,
  }
  local ok, trouble = task.interlude("prompt: " .. stopped.label, with_prompt, stopped)
  if not ok and not error.is(trouble, "cancelled") then log.warn("the prompt failed: " .. tostring(trouble)) end
end

---What the global breakpoint() calls.
function debugger.breakpoint()
  local info = debug.getinfo(3, "Sl")
  local where = info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
  stand_still(("breakpoint at %s, in %s"):format(where, task_name()), debugger.breakpoint)
  task.check() -- it may have been told to end
end

-- Will a pcall around it catch this error? Those of pgaf.failure do, but want it to be looked at.
local function is_handled()
  for level = 3, math.huge do
    local info = debug.getinfo(level, "f")
    if not info then return false end
    if info.func == pcall then return true end
    if info.func == xpcall then return not failure.is_handler(select(2, debug.getlocal(level, 2))) end
  end
end

---Stops the task, on whose stack this is called, at an error that nothing in it will catch.
---@param problem any
function debugger.failed(problem)
  local is_error = type(problem) == "table"
  local mistake = is_error and problem.kind == "script" and problem.message or not is_error and problem or nil
  if is_error and (seen[problem] or NO_FAILURES[problem.kind]) then return end
  if mistake and mistake == last_mistake or is_handled() then return end
  -- it may be raised again further out
  if is_error then seen[problem] = true end
  last_mistake = mistake
  stand_still(("%s failed: %s"):format(task_name(), tostring(problem)), debugger.failed, problem)
end

---From here on failures stop the task that they happen to.
function debugger.arm()
  task.on_failure(debugger.failed)
  failure.watch(debugger.failed)
end

return debugger
