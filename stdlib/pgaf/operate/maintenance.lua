-- Maintenance: the monitor neither counts on the node nor fails over to it, and commits do not wait for it.

local meter = require "pgaf.operate.meter"
local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"
local settled = require "pgaf.operate.settled"
local state = require "pgaf.autofailover.state"

local START_SQL = "select pgautofailover.start_maintenance($1) as done"
local STOP_SQL = "select pgautofailover.stop_maintenance($1) as done"

local maintenance = {}

local function find(formation, name, what)
  local node = state.node(formation, name)
  if not node then
    operate.refuse(what, name .. " is not registered at the monitor",
      "pgafrun add-node " .. name .. " makes it a member")
  end
  return node
end

-- All but one are well; that one may be in trouble, which may be why it is to be maintained.
local function others_well(context, name, resting)
  return function(formation)
    local others = settled.part(formation, function(node) return node.name ~= name end)
    return state.problems(others, operate.names(context, name), resting)
  end
end

local function all_well(context, resting)
  return function(formation) return state.problems(formation, operate.names(context), resting) end
end

-- Who is left to take writes and to take over, in words.
local function consequence(formation, name)
  local standbys = 0
  for _, node in ipairs(formation.nodes) do
    if node.name ~= name and node.goal == "secondary" then standbys = standbys + 1 end
  end
  if standbys > 0 then return nil end
  return "meanwhile nobody can take over, and commits are on one node alone"
end

---Puts a node into maintenance and waits until it and the others are settled.
---@param context pgaf.operate.Context
---@param name string
---@param options { allow_failover?: boolean } for the primary: its role moves first
---@return pgaf.operate.Result
function maintenance.on(context, name, options)
  local what = ("maintenance of %s"):format(name)
  local formation = settled.read(context)
  local node = find(formation, name, what)
  local resting = settled.resting(formation)
  local already = resting[name]
  resting[name] = true
  if already then
    if not context.check then settled.wait(context, what, all_well(context, resting)) end
    return { changed = false, node = name, lines = { name .. " is in maintenance already" } }
  end
  local leads = primary.leads(node)
  if leads and not options.allow_failover then
    operate.refuse(what, name .. " is the primary",
      "--allow-failover has a standby take over; or choose the time yourself: pgafrun switchover")
  end
  local before = settled.resting(formation)
  formation = settled.insist(context, what, leads and all_well(context, before) or others_well(context, name, before))
  if context.check then return { node = name, would = { ("put %s into maintenance"):format(name) } } end
  context.say(("putting %s into maintenance%s"):format(name, leads and ": a standby takes over" or ""))
  local felt = meter.measure(context, function()
    settled.ask(context, START_SQL, { node.nodeid })
    formation = settled.wait(context, what, all_well(context, resting))
  end)
  return {
    changed = true, node = name, felt = felt,
    lines = operate.lines(
      ("%s is in maintenance; pgafrun maintenance off %s ends it"):format(name, name), consequence(formation, name),
      meter.line(felt)),
  }
end

---Ends a node's maintenance and waits until it is a standby again.
---@param context pgaf.operate.Context
---@param name string
---@return pgaf.operate.Result
function maintenance.off(context, name)
  local what = ("end of the maintenance of %s"):format(name)
  local formation = settled.read(context)
  local node = find(formation, name, what)
  local resting = settled.resting(formation)
  if not resting[name] then
    return { changed = false, node = name, lines = { ("%s is not in maintenance: it is %s"):format(name, node.goal) } }
  end
  local status = context.provider:node(name):status()
  if status ~= "running" then
    operate.refuse(what, ("%s is %s and could not follow the primary"):format(name, status),
      ("pgafrun restart %s --machine starts it"):format(name))
  end
  resting[name] = nil
  if context.check then return { node = name, would = { ("end the maintenance of %s"):format(name) } } end
  context.say(("ending the maintenance of %s"):format(name))
  local felt = meter.measure(context, function()
    settled.ask(context, STOP_SQL, { node.nodeid })
    formation = settled.wait(context, what, all_well(context, next(resting) and resting or nil))
  end)
  return {
    changed = true, node = name, felt = felt,
    lines = operate.lines(("%s is %s"):format(name, state.node(formation, name).goal), meter.line(felt)),
  }
end

return maintenance
