-- What earlier drills of the formation found, from the folders that they left: a row for each fault. It touches files
-- only.
--
--     pgafrun -i INVENTORY drill_history
--     pgafrun -i INVENTORY drill_history container-kill --runs
--     pgafrun -i INVENTORY drill_history --folder results          of a folder that a campaign filled
--     pgafrun -i INVENTORY drill_history --prune 90                and forgets what is older

local cli = require "pgaf.cli"
local history = require "pgaf.drill.history"
local journal = require "pgaf.drill.journal"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local rows = require "pgaf.drill.table"

local args, inventory = cli.parse({
  name = "drill_history",
  description = "Tell what earlier drills of this formation, in this environment, found.",
  epilog = "Times are the seconds that clients could not write. Exit code: 0, also when there are none; 64 usage.",
}, function(parser)
  parser:argument("faults", "Only these."):args "*"
  parser:flag("--runs", "Each run as well.")
  parser:flag("--json", "As one JSON object.")
  parser:option("--prune", "First remove what drills left that are older.", nil, cli.positive):argname "DAYS"
  parser:option("--folder", "Read the runs that this folder has, such as campaign --folder made it."):argname "FOLDER"
end, ...)

if args.prune then
  local gone = history.prune(inventory, args.prune)
  if not args.json then print(("removed %d runs older than %g days"):format(#gone, args.prune)) end
end

local wanted = {}
for _, name in ipairs(args.faults) do wanted[name] = true end

local folder = args.folder or journal.folder(inventory)
local all, troubles = history.of(inventory, folder)
for _, trouble in ipairs(troubles) do
  log.warn("a run that cannot be read is left out", { folder = trouble.folder, why = trouble.problem })
end

local runs = json.as_array()
for _, run in ipairs(all) do
  if #args.faults == 0 or wanted[run.fault] then runs[#runs + 1] = run end
end

-- As a campaign has its rows.
local function row_of(group)
  local row = { fault = group.fault, n = #group.runs, verdicts = {}, gap = group.statistics, lost = 0 }
  for _, run in ipairs(group.runs) do
    row.verdicts[run.verdict] = (row.verdicts[run.verdict] or 0) + 1
    row.lost = row.lost and run.lost and row.lost + run.lost
  end
  return row
end

local faults = json.as_array()
for i, group in ipairs(history.by_fault(runs)) do faults[i] = row_of(group) end

if args.json then
  print(json.encode({
    formation = inventory.formation, environment = inventory.environment, folder = folder, faults = faults, runs = runs,
    unreadable = json.as_array(troubles),
  }, { indent = 2 }))
  return 0
end

if #runs == 0 then
  print(("no drills of formation %s in %s"):format(inventory.formation, folder))
  return 0
end
for _, line in ipairs(rows.lines(faults)) do print(line) end
if not args.runs then return 0 end
print ""
for _, run in ipairs(runs) do
  print(("%-20s  %-24s  %-12s  %8s s  lost %-7s  pgafrun %s  %s"):format(run.at:sub(1, 19), run.fault, run.verdict,
    run.gap and ("%.2f"):format(run.gap) or "-", run.lost or "unknown", run.version or "unknown", run.run))
end
return 0
