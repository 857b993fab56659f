-- One look at everything, side by side: for a table, or to begin with.

local throw = error
local colour = require "pgaf.play.report.colour"
local error = require "pgafrun.error"
local feed = require "pgaf.watch.feed"
local judge = require "pgaf.drill.judge"
local process = require "pgafrun.process"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local tty = require "pgafrun.tty"
local view = require "pgaf.watch.view"

-- Where it is not a terminal that limits the line.
local WIDE = 200
local STDOUT = 1

local once = {}

-- What fails is part of what is seen.
local function or_tell(f, tell)
  local ok, problem = pcall(f)
  if ok then return end
  task.check()
  if not error.is(problem) then throw(problem, 0) end
  tell(time.now(), feed.reason(problem))
end

local function ask_monitor(source)
  local connection <close> = source.reach:monitor "watch"
  local formation = state.read(connection, source.inventory.formation_id)
  source.model:monitor_found(formation.at)
  source.model:polled(formation)
end

---@param source pgaf.watch.Feed
function once.ask(source)
  local model = source.model
  local group <close> = task.group()
  group:spawn(or_tell, function() ask_monitor(source) end, function(at, why) model:monitor_lost(at, why) end)
  group:spawn(or_tell, function() source:look_at_machines() end, function(at, why) model:provider_told(at, why) end)
  for _, entry in ipairs(source.inventory.nodes) do group:spawn(source.ask, source, entry.name) end
end

---How lines may be made to stand out on standard output.
---@return "colours"|"plain"|"none"
function once.how()
  if not tty.is_terminal(STDOUT) or process.getenv "TERM" == "dumb" then return "none" end
  return colour.is_wanted() and "colours" or "plain"
end

---@param model pgaf.watch.Model
---@param columns? integer of the terminal
---@param sort? string
---@return string[]
function once.lines(model, columns, sort)
  return view.plain(model, {
    columns = columns or WIDE, rows = math.maxinteger, now = time.now(), wall = time.wall(), how = once.how(),
    sort = sort,
  })
end

---After a signal: ends with that signal's exit code.
function once.check_interrupted()
  local free, why = pcall(task.check)
  if free then return end
  if not error.is(why, "cancelled") then throw(why, 0) end
  error.raise { kind = "cancelled", operation = "watch", message = "interrupted" }
end

---@param model pgaf.watch.Model
---@return integer
function once.exit_code(model)
  if not model.monitor.reached then return judge.MISSING end
  return model.is_whole and judge.PASSED or judge.UNHEALTHY
end

return once
