-- One task that stands still, and the conversation about it.

local error = require "pgafrun.error"
local inspect = require "pgaf.repl.inspect"
local printer = require "pgaf.debugger.print"
local scope = require "pgaf.debugger.scope"
local session = require "pgaf.repl.session"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local stop = {}

local SHOWN_ITEMS = 8 -- of a table in the list of variables

local ABOUT = { "", "A name is a variable of the function that is looked at, if it has one: it can be read and set." }

---@class pgaf.debugger.Stop
---@field co thread
---@field marker function the library's function that was called on its stack
---@field label string the task's
---@field told string what happened, one line or more
---@field problem? any
---@field frames pgaf.debugger.Frame[]
---@field at? integer which of them is looked at
---@field over? boolean

---@param fields table
---@return pgaf.debugger.Stop
function stop.new(fields) return fields end

-- The frames below the debugger's own: `marker` is called by C, and that by who is of interest.
local function read_frames(self)
  local all = scope.frames(self.co, 0)
  local first = 1
  for i, frame in ipairs(all) do
    if frame.func == self.marker then first = i + 2 end
  end
  local last = #all
  while last >= first and all[last].what == "C" do last = last - 1 end -- what every task begins with
  self.frames = table.move(all, first, last, 1, {})
  self.at = scope.nearest(self.frames)
end

local function place(frame)
  if not frame then return "no function in Lua" end
  local name = frame.name or (frame.what == "main" and "the main chunk") or
    (frame.what == "Lua" and ("the function of line %d"):format(frame.line)) or "?"
  return ("%s in %s"):format(frame.where or "[C]", name)
end

local function show_stack(self, repl)
  for i, frame in ipairs(self.frames) do
    repl:say(("%s %2d  %s"):format(i == self.at and ">" or " ", i, place(frame)))
  end
end

local function choose_frame(self, repl, wanted)
  local i = math.tointeger(tonumber(wanted))
  if not i or not self.frames[i] then
    error.raise {
      kind = "usage", operation = ":frame",
      message = ("a number from 1 to %d is wanted, as :bt shows them"):format(#self.frames),
    }
  end
  self.at = i
  repl:say(place(self.frames[i]))
end

local function show_locals(self, repl)
  local frame = self.frames[self.at]
  local list = frame and scope.variables(self.co, frame) or {}
  for _, variable in ipairs(list) do
    local text = inspect.render(variable.value, { depth = 1, items = SHOWN_ITEMS, columns = repl:columns() })
    repl:say(("%-8s %s = %s"):format(variable.kind, variable.name, text))
  end
  if #list == 0 then repl:say "no variables with a name" end
end

local function show_problem(self, repl)
  repl:say(self.problem == nil and "nothing went wrong here" or repl:render(self.problem))
end

local function abort(self, repl)
  repl:say "the run is asked to end, and puts back what it began"
  self.over = true
  task.abort()
end

local function go_on(self) self.over = true end

-- name, what it takes, what it does, how
local COMMANDS = {
  { "continue", "", "goes on; a failure goes its way", go_on },
  { "c", "", "as :continue", go_on },
  { "quit", "", "as :continue", go_on },
  { "abort", "", "ends the whole run, which puts back what it began", abort },
  { "bt", "", "the functions on the stack", show_stack },
  { "frame", "N", "looks into function N of them", choose_frame },
  { "locals", "", "the function's variables", show_locals },
  { "error", "", "what went wrong", show_problem },
}

local function commands_of(self)
  local commands = {}
  for _, one in ipairs(COMMANDS) do
    commands[one[1]] = {
      usage = one[2], summary = one[3], run = function(repl, rest) return one[4](self, repl, rest) end,
    }
  end
  return commands
end

---Shows what happened and answers, until it is to go on.
---@param self pgaf.debugger.Stop
---@param front pgaf.debugger.Front
function stop.converse(self, front)
  read_frames(self)
  local function write(text) front:write(text) end
  local rest = { print = printer(write), task = task, time = time }
  local repl = session.new {
    environment = scope.environment(self.co, function() return self.frames[self.at] end, rest),
    write = write,
    columns = function() return front:columns() end,
    foreground = function(t) front:foreground(t) end,
    commands = commands_of(self),
  }
  repl.about = ABOUT
  repl.values._err = self.problem
  local at = place(self.frames[self.at])
  front:write(("%s\n  at: %s\n  :continue, :abort, :locals, :bt, :help\n"):format(self.told, at))
  front:completes(repl)
  local unfinished = false
  while not self.over do
    local line = front:read(unfinished and ".. " or "stopped> ")
    if not line then break end
    unfinished = repl:feed(line) == "more"
  end
end

return stop
