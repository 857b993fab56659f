-- Proposes timers for a wanted fail-over time. Keeps what is unsafe out; applies and proves them on request.
--
--     pgafrun -i INVENTORY scripts/tune_rto.lua --target 15
--     pgafrun -i INVENTORY scripts/tune_rto.lua --target 15 --apply --prove

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local guc = require "pgaf.postgres.guc"
local json = require "pgafrun.json"
local prediction = require "pgaf.drill.prediction"
local program = require "pgafrun.program"
local providers = require "pgaf.provider"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local tuning = require "pgaf.drill.tuning"

local args, inventory = cli.parse({
  name = "tune_rto",
  description = "Propose timers for a wanted fail-over time; apply and prove them on request.",
  epilog = [[
Exit codes:
  0    proposed, applied or proven
  1    something failed
  2    no safe timers keep the target; or the drill that should prove them failed
  64   usage, or a mistake in the inventory]],
}, function(parser)
  parser:option("--target", "Seconds that clients may be unable to write."):convert(cli.positive):argname "SECONDS"
  parser:flag("--apply", "Run postgres_ha.lua with the proposed timers.")
  parser:flag("--prove", "Then kill the primary's container, with the target as budget.")
  parser:flag("--json", "The proposal as one JSON object.")
end, ...)

if not args.target then cli.usage "tune_rto: --target SECONDS is wanted" end

-- What the monitor has now; without a formation, what the inventory says.
local function current()
  local background <close> = task.group { name = "provider" }
  local provider <close> = providers.open(inventory, background)
  local reach <close> = connect.open(provider, inventory)
  local ok, timers = pcall(function()
    local connection <close> = reach:monitor "tune"
    return state.timers(connection)
  end)
  task.check()
  if not ok then return tuning.seconds(inventory.timers), "the inventory (the monitor does not answer)" end
  timers.network_partition_timeout = inventory.timers.network_partition_timeout
  return timers, "the monitor"
end

local input = {
  standbys = #inventory.nodes - 1, silent = inventory.provider.kind ~= "local",
  connect_timeout = connect.CONNECT_TIMEOUT,
  wal_retrieve_retry_interval = guc.seconds(inventory.postgres.wal_retrieve_retry_interval, "ms"),
}

local found, proposal = pcall(tuning.propose, args.target, input)
if not found then
  if not error.is(proposal, "impossible-budget") then error.raise(proposal) end
  io.stderr:write(tostring(proposal), "\n")
  return 2
end

local now, source = current()
local proposed = tuning.seconds(proposal.timers)
input.timers = now
local worst_now = prediction.compute(input).worst

local function show_table()
  print(("%-36s %10s %10s"):format("timer (seconds)", "current", "proposed"))
  for _, name in ipairs(tuning.NAMES) do
    print(("%-36s %10g %10g"):format(name, now[name], proposed[name]))
  end
  print(("%-36s %10.1f %10.1f   (target %g)"):format("worst fail-over, predicted", worst_now,
    proposal.prediction.worst, args.target))
  print("\ncurrent: as " .. source .. " has it")
  for _, risk in ipairs(proposal.risks) do print("risk: " .. risk) end
  print "\nfor the inventory:\n  timers = {"
  for _, name in ipairs(tuning.NAMES) do print(("    %s = %d,"):format(name, proposal.timers[name])) end
  print "  },"
end

if args.json then
  print(json.encode {
    target = args.target, current = now, current_from = source, proposed = proposed, timers = proposal.timers,
    worst_now = worst_now, prediction = proposal.prediction, risks = json.as_array(proposal.risks),
  })
else
  show_table()
end

-- The scripts beside this one, in this process: their checks, reports and exit codes are theirs.
local function run(script, ...)
  local folder = program.script:match "^(.*/)" or ""
  return assert(loadfile(folder .. script))(...)
end

if not args.apply then return 0 end
local extra = { "postgres_ha.lua" }
for _, name in ipairs(tuning.NAMES) do
  extra[#extra + 1] = "-e"
  extra[#extra + 1] = ("timers.%s=%d"):format(name, proposal.timers[name])
end
if run(table.unpack(extra)) ~= 0 then return 1 end
print "applied. They hold until postgres_ha.lua is run with another inventory: put them into yours."
if not args.prove then return 0 end
return run("failover_drill.lua", "--rto", tostring(args.target)) == 0 and 0 or 2
