-- Around a drill's runbook: arguments, progress, what became of it as report, file and exit code.

local throw = error
local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local program = require "pgafrun.program"
local task = require "pgafrun.task"
local tty = require "pgafrun.tty"
local judge = require "pgaf.drill.judge"
local page = require "pgaf.drill.page"
local reporter = require "pgaf.drill.report"

local STDOUT = 1

local finish = {}

--- Converters for arguments.
function finish.positive(text)
  local value = tonumber(text)
  if value and value > 0 and value < math.huge then return value end
  return nil, ("a number above zero is wanted, not '%s'"):format(text)
end

function finish.count(text)
  local value = math.tointeger(tonumber(text))
  if value and value > 0 and value <= 1000 then return value end
  return nil, ("a whole number from 1 to 1000 is wanted, not '%s'"):format(text)
end

--- A formation marked production is drilled, or changed, only by who names it.
---@param inventory table
---@param named? string
---@param purpose? string default "to kill its primary"
function finish.confirm_production(inventory, named, purpose)
  if inventory.environment ~= "production" or named == inventory.formation then return end
  error.raise {
    kind = "usage", operation = purpose and "production" or "drill",
    message = ("formation %s is marked production: say --i-know-this-is %s %s"):format(
      inventory.formation, inventory.formation, purpose or "to kill its primary"),
  }
end

--- Progress: one line on standard output; nothing with -q, and a log message with --log-format json.
---@param text string
function finish.say(text)
  if program.verbosity < 0 then return end
  if program.log_format == "json" then return log.info(text) end
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

local function show(result)
  io.stdout:write("\n", table.concat(reporter.lines(result, { colour = tty.is_terminal(STDOUT) }), "\n"), "\n")
  io.stdout:flush()
end

-- Nothing that goes wrong here changes the verdict.
local function write_result(path, make, result)
  local ok, problem = pcall(function() fs.write(path, make(result)) end)
  if not ok then log.error("the result could not be written", { file = path, problem = tostring(problem) }) end
end

local function as_json(result) return json.encode(result, { indent = 2 }) .. "\n" end

local function refuse(problem, result)
  result.verdict = judge.refusal(problem)
  log.error(tostring(problem))
  return result
end

--- As cli.parse; a mistake in the inventory ends with 64 like one in the arguments.
---@return table? args nil after such a mistake, which has been told
---@return table? inventory
function finish.parse(spec, declare, ...)
  local parsed, args, inventory = pcall(cli.parse, spec, declare, ...)
  if parsed then return args, inventory end
  if not error.is(args, "inventory") then throw(args, 0) end
  log.error(tostring(args))
end

--- Carries a runbook out; what it was refused for is told, and is its verdict.
---@param runbook fun(args: table, inventory: table, say: fun(text: string), report: fun(result: table)): pgaf.Verdict
---@param args table
---@param inventory table
---@return table result
function finish.carry_out(runbook, args, inventory)
  local result = {}
  local ok, problem = pcall(runbook, args, inventory, finish.say, function(started) result = started end)
  -- Interrupted before there was anything to put back.
  if not ok and not result.interrupted then
    task.check()
    if error.is(problem, "usage") or not error.is(problem) then throw(problem, 0) end
    result = refuse(problem, result)
  end
  return result
end

--- Tells what a drill found, on the terminal and in the files that were asked for.
---@param result table
---@param files { json?: string, report?: string }
function finish.tell(result, files)
  -- The task is cancelled after Ctrl-C: what is left to write is written out of its reach.
  task.shield(30, function()
    if result.run then show(result) end
    if files.json then write_result(files.json, as_json, result) end
    if files.report then write_result(files.report, page.render, result) end
  end)
end

--- Runs a drill's runbook: parses the arguments, calls it, reports, and returns the exit code.
---@param spec pgaf.cli.Spec
---@param declare fun(parser: table)
---@param runbook fun(args: table, inventory: table, say: fun(text: string), report: fun(result: table)): pgaf.Verdict
---@param ... string
---@return integer exit_code
function finish.run(spec, declare, runbook, ...)
  local args, inventory = finish.parse(spec, declare, ...)
  if not args then return judge.USAGE end
  local result = finish.carry_out(runbook, args, inventory)
  finish.tell(result, args)
  -- Of kind "cancelled", so that the exit code is that of the signal it was.
  local free, why = pcall(task.check)
  if result.verdict.code == judge.INTERRUPTED and not free and error.is(why, "cancelled") then
    error.raise { kind = "cancelled", operation = spec.name, message = "interrupted; the formation is whole" }
  end
  return result.verdict.code
end

return finish
