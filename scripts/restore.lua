-- Puts back what a drill broke and could not put back itself: it was killed, or its machine lost power. It works from
-- the journal that the drill kept, looks before it acts, and may be repeated.

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local journals = require "pgaf.drill.journal"
local judge = require "pgaf.drill.judge"
local log = require "pgafrun.log"
local providers = require "pgaf.provider"
local put_back = require "pgaf.drill.put_back"
local task = require "pgafrun.task"

local SPEC = {
  name = "restore",
  description = "Put back what a killed drill left broken.",
  epilog = [[
Exit codes:
  0    everything is back, or there was nothing to put back
  3    a tool, a permission or a connection is missing
  5    it could not be put back
  64   usage, or a mistake in the inventory]],
}

local function declare(parser)
  parser:argument("run", "Only this run; default: all that were not put back."):args "?"
  parser:option("--repair-timeout", "Seconds for the formation to be whole."):default("300")
    :convert(cli.positive):argname "SECONDS"
end

local function choose(inventory, run)
  local open = journals.open_runs(inventory)
  if not run then return open end
  for _, journal in ipairs(open) do
    if journal.run == run then return { journal } end
  end
  log.warn(("no run %s of this formation is waiting to be put back"):format(run))
  return {}
end

local function restore(context, journal, timeout)
  cli.say("putting back " .. journal:describe())
  local formation = put_back.run(context, journal, {
    timeout = timeout, outcome = "restored",
    on_trouble = function(node, text) cli.say(("%s: %s"):format(node, text)) end,
  })
  local roles = {}
  for i, node in ipairs(formation.nodes) do roles[i] = ("%s is %s"):format(node.name, node.reported) end
  cli.say("the formation is whole: " .. table.concat(roles, ", "))
end

local args, inventory = cli.parse(SPEC, declare, ...)

local code = judge.PASSED
local ok, problem = pcall(function()
  local background <close> = task.group { name = "provider" }
  local provider <close> = providers.open(inventory, background)
  provider:check()
  local _ <close> = provider:lock("restore")
  local reach <close> = connect.open(provider, inventory)
  local open = choose(inventory, args.run)
  if #open == 0 then cli.say "nothing to put back" end
  for _, journal in ipairs(open) do
    code = judge.NOT_PUT_BACK
    restore({ provider = provider, reach = reach, inventory = inventory }, journal, args.repair_timeout)
    code = judge.PASSED
  end
end)
if ok then return code end
task.check()
if not error.is(problem) then error.raise { kind = "internal", message = tostring(problem) } end
log.error(tostring(problem))
return code == judge.PASSED and judge.MISSING or code
