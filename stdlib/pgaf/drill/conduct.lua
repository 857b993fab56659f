-- The course of every drill, from the arguments that all of them take to the verdict.

local cli = require "pgaf.cli"
local drills = require "pgaf.drill"
local finish = require "pgaf.drill.finish"
local journal = require "pgaf.drill.journal"
local phases = require "pgaf.drill.phases"
local program = require "pgafrun.program"
local providers = require "pgaf.provider"
local record = require "pgaf.drill.record"
local results = require "pgaf.drill.result"
local snapshots = require "pgaf.drill.snapshots"
local task = require "pgafrun.task"
local versions = require "pgaf.drill.versions"

local conduct = {}

conduct.EXIT_CODES = [[
Exit codes:
  0    passed
  1    the formation was not whole, or an earlier drill was not put back: nothing was touched
  2    clients could not write for longer than --rto, a phase took longer than its --budget, or what the fault's file
       expects did not come to be, or with --fail-on-regression: slower than before; or the budget is impossible
  3    a tool, a permission or a connection that the drill needs is missing, or the provider cannot do this fault
  4    acknowledged writes were lost
  5    the formation could not be put back: see scripts/restore.lua
  64   usage, or a mistake in the inventory
  130  interrupted, and everything is back]]

---Declares what every drill takes.
---@param parser table argparse's
function conduct.declare(parser)
  parser:option("--rto", "Seconds that clients may be unable to write."):default("60"):convert(cli.positive)
    :argname "SECONDS"
  parser:option("--budget", "Seconds that one phase may take, several times: " .. table.concat(phases.KEYS, ", ") ..
    "."):count "*":convert(phases.budget):argname "PHASE=SECONDS"
  parser:flag("--switch-back", "At the end, give the primary's role back to the node that had it.")
  finish.declare(parser)
  parser:flag("--fail-on-regression", "A drill that is slower than its history (see drill_history) has failed.")
  parser:flag("--snapshot", "Take a snapshot of each node first, where the storage does it without freezing them. " ..
    "They go when all is whole again.")
  parser:flag("--reset", "At the end go back to them: what anybody wrote since is gone.")
  parser:flag("--force", "Run although the budget cannot be met with the monitor's settings.")
  parser:option("--writers", "Clients that write."):default("1"):convert(cli.count):argname "N"
  parser:option("--interval", "Milliseconds between two writes of a client."):default("10")
    :convert(cli.positive):argname "MS"
  parser:option("--steady", "Seconds of undisturbed writing before the fault."):default("2")
    :convert(cli.positive):argname "SECONDS"
  parser:option("--repair-timeout", "Seconds for the victim to come back and the formation to be whole.")
    :default("300"):convert(cli.positive):argname "SECONDS"
  parser:option("--i-know-this-is", "The formation's name, typed out: needed on one that is marked production.")
    :argname "FORMATION"
end

---One drill: everything that can be refused is refused first; what is broken is put back, whatever happens.
---@param fault pgaf.Fault
---@param args table as declared above
---@param inventory pgaf.Inventory
---@param say fun(text: string)
---@param report fun(result: table)
---@return pgaf.Verdict
function conduct.drill(fault, args, inventory, say, report)
  local snapshot = args.snapshot or args.reset
  report(results.blank(inventory, fault, args.rto))
  cli.confirm_production(inventory, args.i_know_this_is, "to kill its primary")
  if args.reset then snapshots.check_reset(inventory) end
  record.check_room(journal.folder(inventory))
  local background <close> = task.group { name = "provider" }
  local provider = providers.open(inventory, background)
  local drill <close> = drills.open(provider, inventory, {
    fault = fault, budget = args.rto, force = args.force, writers = args.writers, interval = args.interval / 1000,
    steady = args.steady, fail_on_regression = args.fail_on_regression,
    repair_timeout = args.repair_timeout, phase_budgets = phases.budgets(args.budget), say = say,
  })
  report(drill.result)
  program.expose("drill", drill) -- for who attaches to it

  drill:read_baseline()
  drill:check_budget()
  drill:check_possible()
  if snapshot then snapshots.check(drill) end
  drill.result.versions = versions.read(drill)

  -- From here on things are broken on purpose; whatever happens in this function, they are put back.
  drill:attempt(function()
    if snapshot then snapshots.take(drill) end
    drill:start_observing(args.steady)
    drill:run_fault()
    drill:bring_back()
    drill:look_writes_up()
    if args.switch_back then drill:switch_back() end
    if args.reset then snapshots.reset(drill) end
    drill:put_back()
  end)

  return drill:judge()
end

return conduct
