-- Calls that may fail, made by who handles the failure: what a plain pcall would hide from a person who runs the script
-- with --break-on-failure is shown to them, where it is raised.

local error = require "pgafrun.error"

local failure = {}

local watcher

-- A mistake in a script is a plain string: its place is lost unless it is kept here.
local function handler(raised)
  local problem = raised
  if type(raised) == "string" then
    problem = error.new { kind = "script", message = raised, traceback = debug.traceback(nil, 2) }
  elseif not pcall(tostring, raised) then
    problem = error.new {
      kind = "script", message = ("a %s was raised that cannot be shown: its __tostring fails"):format(type(raised)),
      traceback = debug.traceback(nil, 2),
    }
  end
  if watcher then watcher(problem) end
  return problem
end

local function look(raised)
  if watcher then watcher(raised) end
  return raised
end

---Is this the message handler of the calls below?
---@param f function
---@return boolean
function failure.is_handler(f) return f == handler or f == look end

---As pcall.
---@param f function
---@param ... any
---@return boolean ok, any result or error
function failure.pcall(f, ...) return xpcall(f, look, ...) end

---Calls f(...) and turns a plain string that it raises into an error with its traceback.
---@param f function
---@param ... any
---@return boolean ok, any result or error
function failure.try(f, ...) return xpcall(f, handler, ...) end

---What a failure says, in one line.
---@param raised any
---@return string
function failure.first_line(raised)
  local ok, text = pcall(tostring, raised)
  return ok and text:match "^[^\n]*" or ("a %s that cannot be shown"):format(type(raised))
end

---Asks to be told of each failure while its stack still stands.
---@param f? fun(problem: any) nil: no more
function failure.watch(f) watcher = f end

return failure
