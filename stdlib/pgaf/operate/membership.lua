-- Takes a data node out of the formation for good, or makes one of the inventory a member.

local error = require "pgafrun.error"
local names_of = require "pgaf.names"
local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"
local provision = require "pgaf.operate.provision"
local settled = require "pgaf.operate.settled"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local SYNC_SQL = "select pgautofailover.set_formation_number_sync_standbys($1, $2::int) as done"
local REMOVE_SQL = "select pgautofailover.remove_node($1::bigint, $2::bool) as done"
-- A node that lives and is told to go does so within a few seconds.
local LEAVE_SECONDS = 30

local membership = {}

local function quorum_standbys(formation, without)
  local count = 0
  for _, node in ipairs(formation.nodes) do
    if node.name ~= without and node.replication_quorum and not primary.leads(node) then count = count + 1 end
  end
  return count
end

local function refuse_unfit(formation, node, options)
  local what, name = "drop " .. node.name, node.name
  if primary.leads(node) then
    operate.refuse(what, name .. " is the primary", "pgafrun switchover moves its role to another node")
  end
  if #formation.nodes <= 2 and not options.force then
    operate.refuse(what, "no standby would be left: nobody could take over", "--force does it all the same")
  end
end

-- N of them have to acknowledge a commit, and the monitor wants N + 1 to be there; with 0 it is still one, while one is
-- there. nil: what it is can stay.
local function lower_sync(formation, name)
  local most = math.max(0, quorum_standbys(formation, name) - 1)
  return formation.number_sync_standbys > most and most or nil
end

local function judge(names)
  return function(formation)
    return state.problems(formation, names, settled.resting(formation))
  end
end

-- What is left of the formation, without the one that goes.
local function others(name)
  return function(formation)
    local part = settled.part(formation, function(node) return node.name ~= name end)
    return state.problems(part, nil, settled.resting(part))
  end
end

local function wait_gone(context, name)
  local deadline = time.now() + LEAVE_SECONDS
  while time.now() < deadline do
    if not state.node(settled.read(context), name) then return true end
    task.sleep(0.25)
  end
  return false
end

-- It is asked to go, and stops its PostgreSQL itself. What cannot answer is removed without it, when the others have
-- their places: a primary's row that is forced out of three nodes would leave them without any.
local function remove(context, node, sync)
  if sync then
    settled.ask(context, SYNC_SQL, { context.inventory.formation_id, sync })
    settled.wait(context, "drop " .. node.name, others(node.name))
  end
  local machine = context.provider:node(node.name)
  local runs = machine:status() == "running"
  local alive = runs and machine:service():status() == "running"
  if node.goal ~= "dropped" then settled.ask(context, REMOVE_SQL, { node.nodeid, false }) end
  local gone = alive and wait_gone(context, node.name)
  if runs then
    machine:service():stop()
    machine:service():disable()
  end
  if not gone and state.node(settled.read(context), node.name) then
    settled.wait(context, "drop " .. node.name, others(node.name))
    settled.ask(context, REMOVE_SQL, { node.nodeid, true })
  end
end

local function in_inventory(context, name)
  for _, entry in ipairs(context.inventory.nodes) do
    if entry.name == name then return true end
  end
  return false
end

local function what_to_write(context, name)
  if not in_inventory(context, name) then return nil end
  if #context.inventory.nodes <= 2 then
    return ("the inventory still names %s, and has to name two data nodes: postgres_ha would make it a member again")
      :format(name)
  end
  return ("take { name = %q } out of nodes in the inventory, and run postgres_ha: with it, the next run takes it in")
    :format(name)
end

local function delete(context, name)
  local machine = context.provider:node(name)
  machine:delete()
  if machine:status() == "absent" then return end
  error.raise { kind = "verify", operation = "delete " .. name, message = name .. " is still there" }
end

---Takes a node out of the monitor, and with `remove` deletes it with its data. Refused for a primary. Where too few
---standbys are left for number_sync_standbys, that is lowered first.
---@param context pgaf.operate.Context
---@param name string
---@param options { remove?: boolean, force?: boolean } force: also where no standby is left
---@return pgaf.operate.Result
function membership.drop(context, name, options)
  if name == context.inventory.monitor.name then operate.refuse("drop " .. name, name .. " is the monitor") end
  local formation = settled.read(context)
  local node = state.node(formation, name)
  local status = context.provider:node(name):status()
  if not node and not in_inventory(context, name) and (status == "absent" or status == "foreign") then
    operate.entry(context, name, true)
  end
  if status == "foreign" then operate.refuse("drop " .. name, name .. " belongs to somebody else") end
  local deletes = options.remove and status ~= "absent"
  if node then
    refuse_unfit(formation, node, options)
    settled.insist(context, "drop " .. name, others(name))
  end
  local sync = node and lower_sync(formation, name)
  local steps = operate.lines(
    sync and ("set number_sync_standbys from %d to %d"):format(formation.number_sync_standbys, sync) or nil,
    node and ("take %s out of the monitor"):format(name) or nil,
    deletes and ("delete %s with its data"):format(name) or nil)
  if #steps == 0 then
    return {
      changed = false, node = name, lines = operate.lines(name .. " is no member", what_to_write(context, name)),
    }
  end
  if context.check then return { node = name, would = steps } end
  for _, step in ipairs(steps) do context.say("going to " .. step) end
  if node then
    remove(context, node, sync)
    local left = names_of(formation.nodes, name)
    settled.wait(context, "drop " .. name, function(now)
      local problems = judge(left)(now)
      if state.node(now, name) then problems[#problems + 1] = name .. " is still registered" end
      return problems
    end)
  end
  if deletes then delete(context, name) end
  local machine = deletes and ", and is deleted"
    or status ~= "absent" and "; it is kept with its data, and --remove deletes it" or ""
  return {
    changed = true, node = name, removed = deletes or false, number_sync_standbys = sync,
    lines = operate.lines(name .. " is no member any more" .. machine, what_to_write(context, name)),
  }
end

-- ------------------------------------------------------------------------------------------------------------ adding

-- Others that are missing would be made as well, which is not what was asked for.
local function refuse_other_missing(context, formation, name)
  for _, other in ipairs(operate.names(context, name)) do
    if not state.node(formation, other) then
      operate.refuse("add " .. name, ("the formation lacks %s as well, and a run would make both"):format(other),
        "pgafrun postgres_ha makes all that are missing")
    end
  end
end

---Makes a node of the inventory a member by running postgres_ha.
---@param context pgaf.operate.Context without the formation's lock
---@param name string
---@param args table of the script: check, diff, json and what says which inventory
---@return pgaf.operate.Result
function membership.add(context, name, args)
  local what = "add " .. name
  local formation = settled.read(context)
  local node = state.node(formation, name)
  if node then
    return {
      changed = false, node = name, state = node.goal,
      lines = { ("%s is a member already: it is %s"):format(name, node.goal) },
    }
  end
  refuse_other_missing(context, formation, name)
  settled.insist(context, what, function(now)
    return state.problems(now, operate.names(context, name), settled.resting(now))
  end, "a node is copied from a primary that is well")
  local began = time.now()
  if args.check then
    return { node = name, code = provision.run(args), would = { ("make %s a member"):format(name) } }
  end
  provision.must(what, args)
  formation = settled.wait(context, what, function(now)
    return state.problems(now, operate.names(context), settled.resting(now))
  end)
  local now, seconds = state.node(formation, name), time.now() - began
  return {
    changed = true, node = name, state = now.goal, seconds = seconds,
    lines = { ("%s is %s, after %.0f s"):format(name, now.goal, seconds) },
  }
end

return membership
