-- A new monitor for data nodes that live. They go on serving meanwhile, without fail-over: each is told to do without a
-- monitor, the monitor is made anew, and then the primary and after it the standbys are registered there.
--
-- Every step looks before it acts, so what was interrupted is simply run again.

local connect = require "pgaf.connect"
local creation = require "pgaf.autofailover.creation"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local operate = require "pgaf.operate"
local pki = require "pgaf.autofailover.pki"
local provision = require "pgaf.operate.provision"
local quote = require "pgaf.quote"
local settled = require "pgaf.operate.settled"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local WHAT = "replace the monitor"
local DISABLED = "PG_AUTOCTL_DISABLED"
-- pg_autoctl gives up on a monitor that does not answer after some seconds.
local TELL_SECONDS = 60
local REGISTER_SECONDS = 60

local monitor = {}

-- ------------------------------------------------------------------------------------------------------ what there is

local function answers(context)
  local ok, formation = pcall(settled.read, context)
  task.check()
  return ok and formation or nil
end

-- Which monitor the node's pg_autoctl has.
local function told_monitor(target)
  local text = target.node:pull(target.paths.cfg) or ""
  return text:match "\n%s*monitor%s*=%s*([^\n]-)%s*\n"
end

---@class pgaf.operate.Survivor
---@field target pgaf.Member
---@field standby boolean
---@field disabled boolean it has been told to do without a monitor

-- What the data nodes say of themselves, the standbys first; and why they cannot be taken over as they are.
local function survey(context, formation)
  local survivors, problems, primaries = {}, {}, {}
  for _, target in ipairs(formation.nodes) do
    local status = context.provider:node(target.name):status()
    local ok, said = false, "its machine is " .. status
    if status == "running" then
      ok, said = pcall(formations.sql, target, "postgres", "select pg_is_in_recovery();")
      task.check()
    end
    if not ok then
      problems[#problems + 1] = ("%s cannot be asked: %s"):format(target.name, tostring(said))
    else
      local standby = said:find "^t" ~= nil
      local one = { target = target, standby = standby, disabled = told_monitor(target) == DISABLED }
      if standby then table.insert(survivors, 1, one) else
        survivors[#survivors + 1] = one
        primaries[#primaries + 1] = target.name
      end
    end
  end
  if #primaries ~= 1 then
    problems[#problems + 1] = #primaries == 0 and "no data node takes writes"
      or "more than one data node takes writes: " .. table.concat(primaries, ", ")
  end
  return survivors, problems
end

local function has_data(target)
  return target.node:status() == "running"
    and target.node:files({ target.paths.pgdata .. "/PG_VERSION" })[target.paths.pgdata .. "/PG_VERSION"] ~= false
end

local function has_authority(formation)
  local target = formation.monitor
  if target.node:status() ~= "running" then return false end
  local key = pki.folder(formation) .. "/ca.key"
  return target.node:files({ key })[key] ~= false
end

-- ----------------------------------------------------------------------------------------------------- what is refused

local function refuse_unfit(context, formation, args)
  local machine = context.provider:node(formation.monitor.name)
  local status = machine:status()
  if status == "foreign" then operate.refuse(WHAT, machine.name .. " belongs to somebody else") end
  if status ~= "running" and status ~= "absent" then
    operate.refuse(WHAT, ("%s is %s: its monitor may be well"):format(machine.name, status),
      ("pgafrun restart %s --machine starts it; if it is lost, delete it, and run this again"):format(machine.name))
  end
  if has_data(formation.monitor) and not args.anew then
    operate.refuse(WHAT, ("%s has its data, and does not answer: it may only have to be started"):format(machine.name),
      ("pgafrun restart %s tries; --anew puts that data aside and makes a monitor without it"):format(machine.name))
  end
  if not has_authority(formation) and not args.new_authority then
    operate.refuse(WHAT, "the key of the formation's certificate authority was on the machine that is lost: " ..
      "all servers would get certificates of a new one, and applications would need its certificate",
      "--new-authority does that; pgafrun uri --ca > ca.crt is what applications need afterwards")
  end
end

-- --------------------------------------------------------------------------------------------------------- the steps

-- The data nodes know the passwords that a new monitor would otherwise make anew; those are their servers' own.
local KEPT = {
  { name = "monitor", database = "pg_auto_failover", user = "autoctl_node" },
  { name = "replication", database = "replication", user = "pgautofailover_replicator" },
}

local function keep_passwords(formation)
  local target = formation.monitor
  for _, one in ipairs(KEPT) do
    local path = ("%s/%s_password"):format(target.paths.home, one.name)
    for _, other in ipairs(target.node:files({ path })[path] and {} or formation.nodes) do
      local text = connect.find_password(other.node:pull(other.paths.pgpass) or "", one.database, one.user)
      if text then
        target.node:push(path, text .. "\n", { mode = "0600", user = formation.owner })
        break
      end
    end
  end
end

-- A monitor that does not work is kept beside, for whoever wants to look.
local function put_aside(formation, say)
  local target = formation.monitor
  if target.node:status() ~= "running" then return end
  local service, paths = target.node:service(), target.paths
  if service:is_installed() then service:stop() end
  formations.clear_leftovers(target)
  local there = formations.run(target, ("test -e %s"):format(quote.sh(paths.pgdata)), { check = false }).code == 0
  if there then
    local aside = ("%s.until-%s"):format(paths.pgdata, (time.iso():gsub("%..*", ""):gsub("[^%d]", "")))
    formations.run(target, ("mv -T %s %s"):format(quote.sh(paths.pgdata), quote.sh(aside)))
    say(("%s: the old monitor's data is kept as %s"):format(target.name, aside))
  end
  formations.run(target, "rm -f " .. quote.sh_list { paths.cfg, paths.state, paths.init })
end

local function pg_autoctl(target, words)
  return formations.run(target, ("timeout -k 5 %d pg_autoctl %s 2>&1"):format(TELL_SECONDS, quote.sh_list(words)),
    { check = false, timeout = TELL_SECONDS + 15 })
end

local function refuse_told(target, words, output)
  error.raise {
    kind = "command", operation = ("pg_autoctl %s on %s"):format(words, target.name), message = output,
    hint = "run the same again: it goes on from where it stopped",
  }
end

local function do_without(survivor, say)
  local target = survivor.target
  if survivor.disabled then return end
  say(target.name .. " does without a monitor")
  local result = pg_autoctl(target, { "disable", "monitor", "--force", "--pgdata", target.paths.pgdata })
  if told_monitor(target) ~= DISABLED then refuse_told(target, "disable monitor", result.stdout) end
end

local function wait_registered(context, name)
  local deadline, row = time.now() + REGISTER_SECONDS, nil
  while time.now() < deadline do
    row = state.node(settled.read(context), name)
    if row and row.reported == row.goal then return end
    task.sleep(0.25)
  end
  error.raise {
    kind = "timeout", operation = WHAT,
    message = row and ("%s is on its way from %s to %s"):format(name, row.reported, row.goal)
      or name .. " has not registered", hint = "pgafrun logs " .. name,
  }
end

local function register(context, formation, survivor)
  local target = survivor.target
  context.say(("registering %s, a %s"):format(target.name, survivor.standby and "standby" or "primary"))
  if told_monitor(target) == DISABLED then
    local result = pg_autoctl(target, {
      "enable", "monitor", "--pgdata", target.paths.pgdata, creation.monitor_uri(formation, target),
    })
    if told_monitor(target) == DISABLED then refuse_told(target, "enable monitor", result.stdout) end
  end
  wait_registered(context, target.name)
end

-- --------------------------------------------------------------------------------------------------------- the whole

local function nothing_to_do(name)
  return {
    changed = false, monitor = name,
    lines = { name .. " answers and knows all data nodes: there is nothing to replace (--anew does it all the same)" },
  }
end

local function knows_all(context, known)
  for _, name in ipairs(operate.names(context)) do
    if not state.node(known, name) then return false end
  end
  return true
end

-- One that answers and knows nobody yet is what an interrupted run has made.
local function make_anew(context, formation, args, survivors, half_made)
  if half_made then return end
  provision.must(WHAT, args, "--tags", "machines,install", "--limit", formation.monitor.name)
  local _ <close> = context.provider:lock "replace_monitor"
  put_aside(formation, context.say)
  keep_passwords(formation)
  for _, survivor in ipairs(survivors) do do_without(survivor, context.say) end
end

---Makes the inventory's monitor anew, and registers the data nodes there.
---@param context pgaf.operate.Context without the formation's lock
---@param args table of the script: anew, new_authority, and what says which inventory
---@return pgaf.operate.Result
function monitor.replace(context, args)
  local formation = formations.open(context.provider, context.inventory)
  local name = formation.monitor.name
  local known = answers(context)
  local half_made = known ~= nil and #known.nodes < #formation.nodes and not args.anew
  if known and not half_made and not args.anew and knows_all(context, known) then return nothing_to_do(name) end
  local survivors, problems = survey(context, formation)
  if #problems > 0 then
    operate.refuse(WHAT, "the data nodes are not fit for it:\n  " .. table.concat(problems, "\n  "),
      "each has to run, and one to take writes")
  end
  if not half_made then refuse_unfit(context, formation, args) end
  if context.check then
    local first = has_authority(formation) and "make the monitor %s anew" or "make %s anew, with a new authority"
    return { monitor = name, would = { first:format(name), "register the data nodes there" } }
  end
  local began = time.now()
  make_anew(context, formation, args, survivors, half_made)
  -- With the names of all nodes: the new machine has another address.
  provision.must(WHAT, args, "--tags", "machines,config,monitor")
  do
    local _ <close> = context.provider:lock "replace_monitor"
    for i = #survivors, 1, -1 do register(context, formation, survivors[i]) end
  end
  provision.must(WHAT, args)
  settled.wait(context, WHAT, function(now) return state.problems(now, operate.names(context)) end)
  local seconds = time.now() - began
  return {
    changed = true, monitor = name, seconds = seconds, new_authority = args.new_authority or false,
    lines = operate.lines(("%s is the monitor of all data nodes, after %.0f s"):format(name, seconds),
      args.new_authority and "applications need the new authority's certificate: pgafrun uri --ca > ca.crt" or nil),
  }
end

return monitor
