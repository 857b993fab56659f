-- What the scripts that operate a formation have in common: arguments, the formation's lock, what is told, exit codes.
--
--     return operate.script({ name = "switchover", description = "...", changes = "to move its primary" },
--       function(parser) parser:option("--to", "...") end,
--       function(context, args) return { changed = true, lines = { "..." } } end, ...)
--
-- What is done is in the modules beside this one: they take a context, return a table, and raise what was refused. So
-- they serve a prompt or a script of one's own as well.

local throw = error
local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local names_of = require "pgaf.names"
local program = require "pgafrun.program"
local providers = require "pgaf.provider"
local suggest = require "pgaf.suggest"
local task = require "pgafrun.task"

local DONE, FAILED, WOULD_CHANGE = 0, 1, 2
local SECONDS = 180

local operate = { DONE = DONE, FAILED = FAILED, WOULD_CHANGE = WOULD_CHANGE }

---@class pgaf.operate.Context: pgaf.DrillContext
---@field provider pgaf.Provider
---@field reach pgaf.Reach
---@field inventory pgaf.Inventory
---@field say fun(text: string) progress, one line
---@field check? boolean change nothing: `would` in the result
---@field measure? boolean let a client write meanwhile, and tell how long it could not
---@field timeout number seconds for the formation to be as wanted afterwards

---What is told with --json; without, `lines` of it.
---@class pgaf.operate.Result
---@field changed? boolean
---@field would? string[] with --check: what would be done
---@field lines? string[] for people; not in the JSON
---@field code? integer exit code; default 0, and 2 where something would be done

---@class pgaf.operate.Spec: pgaf.cli.Spec
---@field changes? string the script changes something, which in production has to be confirmed: "to move its primary"
---@field measures? boolean it can measure what clients feel
---@field streams? boolean what it runs has told events with --json: the result is one line more
---@field codes? string lines for exit codes of its own, for --help
---@field locks? boolean false: what changes something takes the formation's lock itself

local CODES = [[
Exit codes:
  0    %s
  1    failed, or refused with the reason%s
  64   usage, or a mistake in the inventory
  130  interrupted]]

local function epilog(spec)
  local done = spec.changes and "done, or nothing to do" or "told"
  local more = spec.changes and "  2    with --check: something would be done" or spec.codes
  return (spec.epilog and spec.epilog .. "\n\n" or "") .. CODES:format(done, more and "\n" .. more or "")
end

local function declare_common(parser, spec)
  parser:flag("--json", "One JSON object on standard output.")
  if not spec.changes then return end
  parser:flag("-C --check", "Change nothing: tell what would be done.")
  parser:option("--timeout", "Seconds for the formation to become what is wanted."):default(tostring(SECONDS))
    :convert(cli.positive):argname "SECONDS"
  parser:option("--i-know-this-is", "The formation's name, typed out: needed on one that is marked production.")
    :argname "FORMATION"
  if spec.measures then parser:flag("--no-measure", "Let no client write meanwhile.") end
end

local function tell(result, as_json, indent)
  local lines = result.lines or {}
  result.lines = nil
  if as_json then
    print(json.encode(result, { indent = indent }))
  else
    for _, text in ipairs(result.would or {}) do print("would " .. text) end
    for _, text in ipairs(lines) do print(text) end
  end
  io.stdout:flush()
end

local function tell_failure(problem, as_json, indent)
  log.error(tostring(problem))
  if not as_json then return end
  print(json.encode({
    failed = {
      kind = problem.kind, code = problem.code, operation = problem.operation, message = problem.message,
      hint = problem.hint, reasons = problem.reasons and json.as_array(problem.reasons),
    },
  }, { indent = indent }))
end

local function run(spec, args, inventory, action)
  local background <close> = task.group { name = "provider" }
  local provider <close> = providers.open(inventory, background)
  provider:check()
  local locks = spec.changes and spec.locks ~= false and not args.check
  local _ <close> = locks and provider:lock(spec.name) or nil
  local reach <close> = connect.open(provider, inventory)
  return action({
    inventory = inventory, provider = provider, reach = reach, check = args.check, timeout = args.timeout,
    measure = spec.measures and not args.no_measure, say = args.json and function() end or cli.say,
  }, args)
end

---A script from its arguments to its exit code.
---@param spec pgaf.operate.Spec
---@param declare? fun(parser: table) adds arguments, in argparse's words
---@param action fun(context: pgaf.operate.Context, args: table): pgaf.operate.Result
---@param ... string the script's arguments
---@return integer exit_code
function operate.script(spec, declare, action, ...)
  spec.epilog = epilog(spec)
  local args, inventory = cli.parse(spec, function(parser)
    if declare then declare(parser) end
    declare_common(parser, spec)
  end, ...)
  if spec.changes and not args.check then
    cli.confirm_production(inventory, args.i_know_this_is, spec.changes)
  end
  if args.follow then program.run_on() end
  local indent = spec.streams and 0 or 2
  local ok, result = pcall(run, spec, args, inventory, action)
  if not ok then
    task.check()
    if not error.is(result) or error.is(result, "usage") then throw(result, 0) end
    tell_failure(result, args.json, indent)
    return FAILED
  end
  local code = result.code or result.would and WOULD_CHANGE or DONE
  result.code = nil
  tell(result, args.json, indent)
  return code
end

---The inventory's entry of a node; raises kind "usage" with the names there are.
---@param context { inventory: pgaf.Inventory }
---@param name string
---@param data_only? boolean the monitor will not do
---@return table entry
function operate.entry(context, name, data_only)
  local inventory, names = context.inventory, {}
  if not data_only then
    if inventory.monitor.name == name then return inventory.monitor end
    names[1] = inventory.monitor.name
  end
  for _, entry in ipairs(inventory.nodes) do
    if entry.name == name then return entry end
    names[#names + 1] = entry.name
  end
  local near = suggest(name, names)
  return error.raise {
    kind = "usage", operation = "node " .. name,
    message = ("the inventory has no %s %s%s There are: %s"):format(data_only and "data node" or "node", name,
      near and ("; did you mean %s?"):format(near) or ".", table.concat(names, ", ")),
  }
end

---Names of the inventory's data nodes, but for one.
---@param context { inventory: pgaf.Inventory }
---@param without? string
---@return string[]
function operate.names(context, without)
  return names_of(context.inventory.nodes, without)
end

---A list of those that are there.
---@param ... string?
---@return string[]
function operate.lines(...)
  local lines = {}
  for i = 1, select("#", ...) do lines[#lines + 1] = (select(i, ...)) end
  return lines
end

---Raises why something is not done.
---@param what string "switchover"
---@param message string
---@param hint? string what to do instead
function operate.refuse(what, message, hint)
  error.raise { kind = "refused", operation = what, message = message .. "; nothing was touched", hint = hint }
end

return operate
