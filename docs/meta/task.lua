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

---From here on this task may run without waiting for so long; then what runs is stopped by an error. For code that
---somebody types into a run that must not stand still.
---@param seconds number 0: as long as it likes
function Task:patience(seconds) end

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

---@class pgafrun.TaskNode
---@field id integer
---@field name string as Task:label()
---@field group? string the name of the group it was spawned into, if that has one
---@field status "ready"|"running"|"waiting"|"stopped" stopped: it stands still in an interlude, where it could not wait
---@field waiting_for? string of one that waits: the operation, "http.request", "task.sleep", "group:wait" ...
---@field since? number when it began to wait, as time.now() tells time
---@field where? string "file:line" of the nearest function on its stack that is not the library's
---@field deadline? number seconds left until its deadline, if it has one
---@field cancelled? true it has been asked to stop
---@field service? true it runs beside the script
---@field children pgafrun.TaskNode[] those it has spawned and still has to wait for, oldest first

---All live tasks, for people, as plain tables: each below the one that spawned it. Costs nothing until it is called.
---@return pgafrun.TaskNode[]
function task.tree() end

---@class pgafrun.Handle
---@field type string "timer", "poll", "pipe", "process", "signal" ...: libuv's word
---@field about string "tcp 10.0.3.1:5432", "unix /var/lib/incus/unix.socket", "process 4711", "due in 1.500 s"; may be ""
---@field active boolean it waits for something
---@field referenced boolean it keeps the program from seeing that every task waits for another one
---@field closing boolean

---What the event loop has open, for who looks for a leak or asks what a run is waiting for.
---@return pgafrun.Handle[]
function task.handles() end

---Starts a task beside the script, in no group: no signal cancels it, and the end of the script does. Two seconds later
---the program ends without it. Nobody waits for it and nobody hears of its error.
---@param name string
---@param f function called with the remaining arguments
---@param ... any
---@return pgafrun.Task
function task.service(name, f, ...) end

---Runs f(...) as a task of its own, while the calling one stands still, out of reach of cancellation and deadlines, and
---all others go on. It may be called where nothing else can wait: in a message handler, in a coroutine of your own,
---while a module is being required. A signal cancels that task.
---@param name string
---@param f function called with the remaining arguments
---@param ... any
---@return boolean ok, any? error
function task.interlude(name, f, ...) end

---Asks the whole script to end, as Ctrl-C does: every task's waits raise kind "cancelled", what was begun is put back, and
---the exit code is 130.
function task.abort() end

---Asks to be told of each error that no pcall of its task's will catch, at the place where it is raised: f is called on
---the failing task's stack, which still stands, and must not wait (but see task.interlude). nil: no more.
---@param f? fun(error: any)
function task.on_failure(f) end

---Stops here and opens a prompt that sees this function's locals: on the terminal, or in a `pgafrun attach`. Other tasks
---go on. Without either it is told in the log and passed. This one is a global, always there.
function breakpoint() end

return task
