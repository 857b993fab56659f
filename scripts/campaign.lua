-- Runs several drills one after the other, each as often as wanted, and tells what came of them in one table. The
-- formation has to be whole before each and is whole after each, or the campaign ends.
--
--     pgafrun -i INVENTORY campaign                                    every fault that can be done here
--     pgafrun -i INVENTORY campaign container-kill --repeat 20 --folder results
--     pgafrun -i INVENTORY campaign --shuffle                          in an order of chance, which is told
--     pgafrun -i INVENTORY campaign --shuffle 42                       in that order again

local campaigns = require "pgaf.drill.campaign"
local cli = require "pgaf.cli"
local conduct = require "pgaf.drill.conduct"
local crypto = require "pgafrun.crypto"
local files = require "pgaf.drill.campaign_files"
local finish = require "pgaf.drill.finish"
local judge = require "pgaf.drill.judge"
local log = require "pgafrun.log"
local notify = require "pgaf.drill.notify"
local problems = require "pgafrun.error"
local providers = require "pgaf.provider"
local rows = require "pgaf.drill.table"
local snapshots = require "pgaf.drill.snapshots"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

-- For the formation to be whole before a drill.
local TRIES, PAUSE_SECONDS = 4, 10

local SPEC = {
  name = "campaign",
  description = "Run several drills one after the other, and tell what came of them in one table.",
  epilog = "Exit code: 0 all passed; else that of the gravest: 5 not put back (the campaign ends there), 130 " ..
    "interrupted, 4 data lost, 2 failed, 3 something is missing, 1 the formation was not whole (it ends there too).",
}

local function seed_of(text)
  local value = math.tointeger(tonumber(text))
  if value and value >= 0 and value < 2 ^ 32 then return value end
  return nil, ("a seed is a whole number from 0 to 4294967295, not '%s' (faults go before --shuffle)"):format(text)
end

local function declare(parser)
  parser:argument("faults", "Names or files; default: all of the catalogue that can be done here."):args "*"
  parser:option("--repeat", "How often each."):target "times":default("1"):convert(cli.count):argname "N"
  parser:option("--shuffle", "In an order of chance; with a SEED, in the order that it stands for."):args "?"
    :convert(seed_of):argname "SEED"
  parser:option("--folder", "Keep what each drill leaves in a folder FAULT-N of this one, and the whole beside it.")
    :argname "FOLDER"
  conduct.declare(parser)
end

local args, inventory = cli.parse(SPEC, declare, ...)
local notices = finish.check_outputs(args)
finish.ask_production(args, inventory)
cli.confirm_production(inventory, args.i_know_this_is, "to kill its primary")
if args.reset then snapshots.check_reset(inventory) end

local function open_campaign()
  local provider <close> = providers.open(inventory)
  local chosen, left_out = campaigns.choose(args.faults, provider, inventory)
  for _, one in ipairs(left_out) do cli.say(("left out: %-24s %s"):format(one.fault, one.why)) end
  local seed = args.shuffle and (args.shuffle[1] or tonumber(crypto.random_hex(4), 16))
  if seed then cli.say(("the order is that of seed %d: --shuffle %d repeats it"):format(seed, seed)) end
  return campaigns.new(inventory, campaigns.turns(chosen, args.times, seed), {
    times = args.times, seed = seed, left_out = left_out,
  })
end

local kept = files.new(args.folder, inventory)
local opened, campaign = pcall(function()
  local made = open_campaign()
  kept:check_room(#made.turns)
  return made
end)
if not opened then
  if not problems.is(campaign) or campaign.kind == "usage" then error(campaign, 0) end
  log.error(tostring(campaign))
  return judge.refusal(campaign).code
end

-- A node that was heard of late, where much else is running, is no reason to end a long campaign.
local function drill(fault)
  local result
  for try = 1, TRIES do
    result = finish.carry_out(function(...) return conduct.drill(fault, ...) end, args, inventory)
    if result.refusal ~= "unhealthy" or try == TRIES then break end
    cli.say(("the formation is not whole: looking again in %d s"):format(PAUSE_SECONDS))
    task.sleep(PAUSE_SECONDS)
  end
  return result
end

-- Returns why the campaign cannot go on; nil when it can.
local function perform(turn, number)
  local fault = turn.fault
  cli.say(("\n== %s (%d of %d; drill %d of %d): %s"):format(
    fault.name, turn.number, args.times, number, #campaign.turns, fault.title))
  local began = time.now()
  local result = drill(fault)
  if result.refusal == "unsupported" and #args.faults == 0 then
    return campaign:leave_out(fault, result.verdict.reasons[1])
  end
  local seconds = time.now() - began
  finish.tell(result, {}, seconds)
  campaign:add(turn, result, seconds, kept:keep(result))
  if result.verdict.code == judge.NOT_PUT_BACK then return "the formation could not be put back" end
  if result.verdict.code == judge.UNHEALTHY then return "the formation is not whole" end
  task.check()
end

-- What ends it before its end comes out after all has been told.
local finished, why = pcall(function()
  for number, turn in ipairs(campaign.turns) do
    local reason = not turn.left_out and perform(turn, number)
    if reason then return reason end
  end
end)
if finished and why then log.error(why .. ": the campaign ends here") end

local result = kept:finish(campaign, args)
cli.say("\nseconds that clients could not write:\n")
for _, line in ipairs(rows.lines(result.faults)) do cli.say(line) end
cli.say ""
for _, line in ipairs(rows.values(result.faults)) do cli.say(line) end
if result.not_run > 0 then cli.say("drills that were not come to: " .. result.not_run) end
notify.send(notices, result, campaign:outcome())
if not finished then error(why, 0) end
return finish.exit_code(SPEC.name, result.verdict.code)
