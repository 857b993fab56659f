-- What a person, or a program, reads of a run. On a terminal: a live line for each node, and above it what changed;
-- elsewhere plain lines; with `json` one event a line; beside any of them a JUnit file. Everything that is shown passes
-- through here, and what is known to be secret is masked here.

local colour = require "pgaf.play.report.colour"
local Events = require "pgaf.play.report.events"
local Junit = require "pgaf.play.report.junit"
local Live = require "pgaf.play.report.live"
local mask = require "pgafrun.mask"
local Plain = require "pgaf.play.report.plain"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local Screen = require "pgaf.play.report.screen"
local tty = require "pgafrun.tty"

local STDOUT = 1

local report = {}

---@class pgaf.play.Report
---@field json boolean one event a line, and nothing for people
---@field heartbeat number? seconds between two calls of still_running; nil: the runner's own
---@field views table[] who is told; those methods that they have
---@field lines pgaf.play.report.Plain? for people
---@field events pgaf.play.report.Events? for programs
local Report = {}
Report.__index = Report

---@class pgaf.play.report.Options
---@field json? boolean
---@field junit? string path of a JUnit file that is written at the end
---@field live? boolean default: on a terminal that can do it; false where the script asks questions meanwhile
---@field colours? boolean default: on such a terminal, unless NO_COLOR is set
---@field write? fun(line: string) default: standard output
---@field verbose? boolean default: -v
---@field verbosity? integer -1 failures alone, 0, 1 also what was as wanted, 2 also tracebacks; default: pgafrun's

local function to_stdout(line)
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

local function is_capable_terminal()
  local kind = process.getenv "TERM"
  return tty.is_terminal(STDOUT) and kind ~= nil and kind ~= "" and kind ~= "dumb"
end

local function verbosity_of(options)
  if options.verbosity then return options.verbosity end
  if options.verbose == nil then return program.verbosity end
  return options.verbose and math.max(1, program.verbosity) or math.min(0, program.verbosity)
end

local function masked(write)
  return function(line) write(mask.apply(line)) end
end

-- For people: lines, and on a terminal the moving part below them.
local function add_lines(self, options, verbosity)
  local terminal = not options.write and is_capable_terminal()
  local colours, live = options.colours, nil
  if colours == nil then colours = terminal and colour.is_wanted() end
  if terminal and options.live ~= false and verbosity >= 0 then
    live = Live.new { screen = Screen.new(), colours = colours }
    self.views[#self.views + 1] = live
    self.heartbeat = Live.REPAINT_SECONDS
  end
  local write = options.write or to_stdout
  if live then write = function(line) live:print(line) end end
  self.lines = Plain.new {
    write = masked(write), verbosity = verbosity, colours = colours, always_recap = terminal,
    quiet_heart = live ~= nil, width_limit = terminal and function() return (tty.size(STDOUT)) end or nil,
  }
  self.views[#self.views + 1] = self.lines
end

---@param options? pgaf.play.report.Options
---@return pgaf.play.Report
function report.new(options)
  options = options or {}
  local self = setmetatable({ json = options.json or false, views = {} }, Report)
  local verbosity = verbosity_of(options)
  if self.json then
    self.events = Events.new(options.write or to_stdout)
    self.views[1] = self.events
  else
    add_lines(self, options, verbosity)
  end
  -- the last one: a file that cannot be written must not keep the others from telling the end
  if options.junit then self.views[#self.views + 1] = Junit.new(options.junit, verbosity) end
  return self
end

local function tell(self, what, ...)
  for _, view in ipairs(self.views) do
    if view[what] then view[what](view, ...) end
  end
end

---An event of the script's own, for programs only.
---@param event string
---@param fields table
function Report:event(event, fields)
  if self.events then self.events:event(event, fields) end
end

---A line for people only.
---@param line string
function Report:say(line)
  if self.lines then self.lines:say(line) end
end

---@param plan pgaf.Plan
---@param mode? pgaf.play.Mode
function Report:begin(plan, mode) tell(self, "begin", plan, mode or {}) end

---Nothing is begun: what has to be right before was not. The error itself is told by whoever catches it.
---@param plan pgaf.Plan
---@param raised any
function Report:refused(plan, raised) tell(self, "refused", plan, raised) end

---@param item pgaf.Item
function Report:started(item) tell(self, "started", item) end

---Long work tells how far it is.
---@param item pgaf.Item
---@param message string
---@param fraction? number 0 to 1, where that is known
function Report:progress(item, message, fraction)
  tell(self, "progress", item, mask.apply(message or ""), fraction)
end

---@param item pgaf.Item
---@param attempt integer the one that failed
---@param raised any what it raised
function Report:retrying(item, attempt, raised) tell(self, "retrying", item, attempt, raised) end

---@param item pgaf.Item
function Report:finished(item) tell(self, "finished", item) end

---Called every `heartbeat` seconds.
---@param items pgaf.Item[] that are at work
function Report:still_running(items) tell(self, "still_running", items) end

---The run ends before its time; what was being done may be half done.
---@param items pgaf.Item[]
---@param not_run? pgaf.Item[] handlers that were notified
function Report:interrupted(items, not_run) tell(self, "interrupted", items, not_run or {}) end

---@param result pgaf.play.Result
function Report:finish(result) tell(self, "finish", result) end

return report
