-- Runs several drills one after the other, each as often as wanted, and tells what came of them in one table.
--
--     pgafrun -i INVENTORY campaign                                    every fault that this provider can do
--     pgafrun -i INVENTORY campaign container-kill --times 20 --folder results

local conduct = require "pgaf.drill.conduct"
local faults = require "pgaf.drill.fault"
local finish = require "pgaf.drill.finish"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local judge = require "pgaf.drill.judge"
local log = require "pgafrun.log"
local providers = require "pgaf.provider"
local task = require "pgafrun.task"
local error = require "pgafrun.error"

local SPEC = {
  name = "campaign",
  description = "Run several drills one after the other, and tell what came of them in one table.",
  epilog = "Exit code: 0 all passed; else that of the gravest: 5 not put back (the campaign ends there), 4 data " ..
    "lost, 2 failed, 3 something is missing, 1 the formation was not whole.",
}

local function declare(parser)
  parser:argument("faults", "Names or files; default: all of the catalogue that can be done here."):args "*"
  parser:option("--times", "How often each."):default("1"):convert(finish.count):argname "N"
  parser:option("--folder", "Keep each drill's result and report in this folder."):argname "FOLDER"
  conduct.declare(parser)
end

-- What cannot be done is named, not passed over.
local function choose(args, inventory)
  local wanted, chosen = args.faults, {}
  local all = #wanted == 0
  if all then wanted = select(2, faults.catalogue()) end
  local provider <close> = providers.open(inventory)
  for _, name in ipairs(wanted) do
    local fault = faults.load(name)
    local ok, problem = pcall(faults.check, fault, provider, inventory)
    if ok then
      chosen[#chosen + 1] = fault
    elseif all and error.is(problem) then
      finish.say(("left out: %-24s %s"):format(fault.name, problem.message))
    else
      error.raise(problem)
    end
  end
  return chosen
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function row(fault, results)
  local verdicts, gaps, lost, lost_known = {}, {}, 0, true
  for _, result in ipairs(results) do
    local name = result.verdict.name
    verdicts[name] = (verdicts[name] or 0) + 1
    if result.gap then gaps[#gaps + 1] = result.gap.seconds end
    if result.audit then lost = lost + #result.audit.lost else lost_known = false end
  end
  local told = {}
  for name, n in pairs(verdicts) do told[#told + 1] = n == #results and name or ("%s %d"):format(name, n) end
  table.sort(told)
  local span = "unknown"
  if #gaps > 0 then
    local middle = median(gaps)
    span = ("%.2f / %.2f / %.2f"):format(gaps[1], middle, gaps[#gaps])
  end
  return ("%-28s %3d  %-24s %-22s %s"):format(fault.name, #results, table.concat(told, ", "), span,
    lost_known and tostring(lost) or "unknown")
end

-- 5 is worse than lost data here: whoever goes on would break what is already broken.
local GRAVITY = {
  [judge.PASSED] = 0, [judge.UNHEALTHY] = 1, [judge.MISSING] = 2, [judge.TOO_SLOW] = 3, [judge.LOST] = 4,
  [judge.INTERRUPTED] = 5, [judge.NOT_PUT_BACK] = 6,
}

local args, inventory = finish.parse(SPEC, declare, ...)
if not args then return judge.USAGE end
finish.confirm_production(inventory, args.i_know_this_is)
if args.folder then fs.mkdir(args.folder) end

local gravest, lines = judge.PASSED, {}
local function perform(fault, results)
  for time = 1, args.times do
    finish.say(("\n== %s (%d of %d): %s"):format(fault.name, time, args.times, fault.title))
    local result = finish.carry_out(function(...) return conduct.drill(fault, ...) end, args, inventory)
    results[#results + 1] = result
    local base = args.folder and ("%s/%s-%d"):format(args.folder, fault.name, time)
    finish.tell(result, base and { json = base .. ".json", report = result.run and base .. ".html" } or {})
    if GRAVITY[result.verdict.code] > GRAVITY[gravest] then gravest = result.verdict.code end
    task.check()
    if result.verdict.code == judge.NOT_PUT_BACK then return false end
  end
  return true
end

for _, fault in ipairs(choose(args, inventory)) do
  local results = {}
  local go_on = perform(fault, results)
  lines[#lines + 1] = row(fault, results)
  if not go_on then
    log.error("the formation is not whole: the campaign ends here")
    break
  end
end

finish.say(("\n%-28s %3s  %-24s %-22s %s"):format("fault", "n", "verdict", "gap min/median/max s", "lost"))
for _, line in ipairs(lines) do finish.say(line) end
if args.json then fs.write(args.json, json.encode({ verdict = gravest, table = lines }) .. "\n") end
return gravest
