---@meta pgafrun.task
-- Tasks, groups, deadlines, cancellation. Everything that waits (here and in every other module) may be called
-- only inside a task (the script itself is one), not while a module is being required, not in a table.sort or gsub
-- callback, and not in a coroutine of your own.

local task = {}

---@class pgafrun.Group
---Opened by task.group; must be held in a `local g <close>` variable. Leaving the block waits for all its tasks.
---The first task that fails cancels its siblings and the body; leaving the block then raises that first error.
local Group = {}

---@class pgafrun.Task
local Task = {}

---The name given at spawn_named, or "task N".
---@return string
function Task:label() end

---@class pgafrun.Condition
---A place to wait for something that other tasks make true. No memory: notify wakes those that wait now.
local Condition = {}

---Opens a group. Its deadline also holds for the body that opened it, and can only shorten the one around it.
---@param options? { deadline?: number, name?: string } deadline: seconds from now
---@return pgafrun.Group
function task.group(options) end

---Starts a task in the group.
---@param f function called with the remaining arguments
---@param ... any
---@return pgafrun.Task
function Group:spawn(f, ...) end

---As spawn, with a name for logs and the task list.
---@param name string
---@param f function
---@param ... any
---@return pgafrun.Task
function Group:spawn_named(name, f, ...) end

---Asks all the group's tasks (and the body, at its next wait) to stop. Their cancellation is no failure.
function Group:cancel() end

---Waits until all tasks of the group have ended, without leaving the block. Raises the first failure.
function Group:wait() end

---Waits for the task; returns what its function returned, raises what it raised (kind "cancelled" if it was cancelled).
---@return any ...
function Task:wait() end

---Asks the task to stop: its current and every later wait raises kind "cancelled". Harmless on one that has ended.
function Task:cancel() end

---@return "ready"|"running"|"waiting"|"done"|"failed"|"cancelled"
function Task:status() end

---Waits for a time. Fractions are fine; 0 is task.yield().
---@param seconds number
function task.sleep(seconds) end

---Lets other ready tasks run first.
function task.yield() end

---Runs f(...) with a deadline (seconds from now, only ever shortening); returns its results.
---Raises kind "timeout", code "deadline" when it passes.
---@param seconds number
---@param f function
---@param ... any
---@return any ...
function task.timeout(seconds, f, ...) end

---Runs f(...) out of reach of cancellation and of outer deadlines, for at most `seconds`: for putting things back.
---@param seconds number
---@param f function
---@param ... any
---@return any ...
function task.shield(seconds, f, ...) end

---Raises if this task has been cancelled or its deadline passed; does not wait.
function task.check() end

---Seconds until this task's deadline (math.huge without one).
---@return number
function task.remaining() end

---@return pgafrun.Task
function task.current() end

---@return pgafrun.Condition
function task.condition() end

---Waits for a notify; false when `seconds` (optional) passed first.
---@param seconds? number
---@return boolean notified
function Condition:wait(seconds) end

---Wakes the n longest-waiting tasks (all without n); returns how many.
---@param n? integer
---@return integer
function Condition:notify(n) end

---The live tasks, for people: { id, name, status, waiting_for, since }.
---@return { id: integer, name: string, status: string, waiting_for: string, since: number }[]
function task.list() end

return task
