-- Around a drill's runbook: arguments, progress, what became of it as report, file and exit code.

local throw = error
local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local failure = require "pgaf.failure"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local program = require "pgafrun.program"
local task = require "pgafrun.task"
local tty = require "pgafrun.tty"
local time = require "pgafrun.time"
local cases = require "pgaf.drill.cases"
local judge = require "pgaf.drill.judge"
local junit = require "pgaf.junit"
local notify = require "pgaf.drill.notify"
local page = require "pgaf.drill.page"
local prompt = require "pgaf.prompt"
local reporter = require "pgaf.drill.report"

local STDIN, STDOUT = 0, 1

local finish = {}

--- On a terminal the name may be typed when it is asked for.
---@param args table as conduct.declare declares them
---@param inventory table
function finish.ask_production(args, inventory)
  if inventory.environment ~= "production" or args.i_know_this_is or not tty.is_terminal(STDIN) then return end
  local typed = prompt.read_line {
    prompt = ("Formation %s is marked production, and something in it is about to be broken on purpose.\n" ..
      "To go on, type its name: "):format(inventory.formation),
  }
  args.i_know_this_is = typed and typed:match "^%s*(.-)%s*$"
end

--- Declares where the outcome goes; the same for a drill and a campaign.
---@param parser table argparse's
function finish.declare(parser)
  parser:option("--report", "Write a page for a browser, complete in itself."):argname "FILE.html"
  parser:option("--json", "Write the result to this file."):argname "FILE"
  parser:option("--junit", "Write the outcome as CI systems read it, a test case for each drill."):argname "FILE"
  parser:option("--notify", "Post the outcome as JSON to this URL, or to the one in @FILE. May be repeated.")
    :argname "URL":count "*"
  parser:option("--notify-exec", "Run this command with the result as JSON on its standard input, and the outcome " ..
    "in PGAFRUN_OUTCOME, PGAFRUN_CODE and others. May be repeated."):argname "COMMAND":count "*"
end

--- What is wrong with those is found before anything is touched. Raises kind "usage".
---@param args table
---@return pgaf.Notices
function finish.check_outputs(args)
  for _, name in ipairs { "report", "json", "junit" } do
    if args[name] then junit.check(args[name], "--" .. name) end
  end
  return notify.parse(args)
end

local function show(result)
  io.stdout:write("\n", table.concat(reporter.lines(result, { colour = tty.is_terminal(STDOUT) }), "\n"), "\n")
  io.stdout:flush()
end

--- Nothing that goes wrong here changes the verdict.
---@param path? string nil: nothing is written
---@param write fun(path: string, ...)
---@param ... any
function finish.write(path, write, ...)
  if not path then return end
  local ok, problem = pcall(write, path, ...)
  if not ok then log.error("the result could not be written", { file = path, problem = tostring(problem) }) end
end

local function write_page(path, result) fs.write(path, page.render(result)) end

--- As JSON that people can read as well.
---@param path string
---@param result table
function finish.write_json(path, result) fs.write(path, json.encode(result, { indent = 2 }) .. "\n") end

local function write_case(path, result, seconds)
  cases.write(path, "drill of " .. result.formation, { {
    name = result.fault or "drill", timestamp = result.started:match "^[^.Z]*",
    cases = { cases.of(result, result.title or result.fault or "drill", seconds) },
  } }, seconds)
end

local function refuse(problem, result)
  result.verdict, result.ended = judge.refusal(problem), time.iso()
  result.refusal = error.is(problem) and problem.kind or nil
  log.error(tostring(problem))
  return result
end

--- Carries a runbook out; what it was refused for is told, and is its verdict.
---@param runbook fun(args: table, inventory: table, say: fun(text: string), report: fun(result: table)): pgaf.Verdict
---@param args table
---@param inventory table
---@return table result
function finish.carry_out(runbook, args, inventory)
  local result = {
    formation = inventory.formation, environment = inventory.environment, provider = inventory.provider.kind,
    budget = args.rto, started = time.iso(), version = program.version,
  }
  local ok, problem = failure.pcall(runbook, args, inventory, cli.say, function(started) result = started end)
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
---@param files { json?: string, report?: string, junit?: string }
---@param seconds number that it took
function finish.tell(result, files, seconds)
  -- The task is cancelled after Ctrl-C: what is left to write is written out of its reach.
  task.shield(30, function()
    if result.run then show(result) end
    finish.write(files.json, finish.write_json, result)
    finish.write(files.report, write_page, result)
    finish.write(files.junit, write_case, result, seconds)
  end)
end

--- What a script ends with: a verdict's code; after a signal, that of the signal, by raising kind "cancelled".
---@param name string the script's
---@param code integer
---@return integer exit_code
function finish.exit_code(name, code)
  local free, why = pcall(task.check)
  if code == judge.INTERRUPTED and not free and error.is(why, "cancelled") then
    error.raise { kind = "cancelled", operation = name, message = "interrupted; the formation is whole" }
  end
  return code
end

--- Runs a drill's runbook: parses the arguments, calls it, reports, and returns the exit code.
---@param spec pgaf.cli.Spec
---@param declare fun(parser: table)
---@param runbook fun(args: table, inventory: table, say: fun(text: string), report: fun(result: table)): pgaf.Verdict
---@param ... string
---@return integer exit_code
function finish.run(spec, declare, runbook, ...)
  local args, inventory = cli.parse(spec, declare, ...)
  local notices = finish.check_outputs(args)
  finish.ask_production(args, inventory)
  local began = time.now()
  local result = finish.carry_out(runbook, args, inventory)
  finish.tell(result, args, time.now() - began)
  notify.send(notices, result, notify.outcome(result))
  return finish.exit_code(spec.name, result.verdict.code)
end

return finish
