-- Restarts a node's PostgreSQL and pg_autoctl, or its whole machine, as who is careful does it: a primary hands its
-- role over first, a standby only goes while the others are well, and nobody while the monitor is away.

local throw = error
local error = require "pgafrun.error"
local meter = require "pgaf.operate.meter"
local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"
local settled = require "pgaf.operate.settled"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local STARTED_SQL = "select extract(epoch from pg_postmaster_start_time())::float8 as at"
-- A server that was restarted answers when it has recovered.
local ANSWER_SECONDS = 60

local restart = {}

---@class pgaf.operate.Restart
---@field machine? boolean the container, and not only the service
---@field force? boolean also where the formation is not fit for it; a primary is restarted where it is
---@field switch_back? boolean give a primary its role back

-- When the node's server was started; nil when it cannot be asked.
local function started_at(context, name)
  local is_monitor = name == context.inventory.monitor.name
  local ok, at = pcall(function()
    local connection <close> = is_monitor and context.reach:monitor("operate") or context.reach:node(name, "operate")
    return connection:query(STARTED_SQL, nil, { timeout = 5, mutates = false }).rows[1].at
  end)
  if ok then return at end
  task.check()
  if not error.is(at) then throw(at, 0) end
  return nil, at
end

local function verify_restarted(context, name, before)
  local problem = "it is the same server"
  local deadline = time.now() + ANSWER_SECONDS
  while time.now() < deadline do
    local at, why = started_at(context, name)
    if at and at ~= before then return at end
    problem = why and tostring(why) or problem
    task.sleep(0.25)
  end
  error.raise {
    kind = "verify", operation = "restart " .. name, hint = "pgafrun logs " .. name,
    message = ("no new server answers on %s: %s"):format(name, problem),
  }
end

local function cycle(node, machine)
  if not machine then return node:service():restart() end
  if node:status() == "running" then node:stop() end
  node:start()
end

-- Restarts it, and sees that another server answers.
local function perform(context, name, options)
  local node = context.provider:node(name)
  context.say(("restarting %s%s"):format(name, options.machine and "'s machine" or ""))
  local before = started_at(context, name)
  cycle(node, options.machine)
  verify_restarted(context, name, before)
end

local function any(set) return next(set) and set or nil end

-- The machine can be started from here, where its being away is why the formation is not well.
local function check_machine(context, name, options, what)
  local status = context.provider:node(name):status()
  if status == "running" or options.machine and status == "stopped" then return end
  operate.refuse(what, ("%s is %s"):format(name, status),
    status == "stopped" and "--machine starts it" or "pgafrun postgres_ha makes a node again")
end

-- A node is in its place, whatever the others are.
local function problems_of(formation, name)
  local row = state.node(formation, name)
  if not row then return {} end
  if row.reported ~= row.goal then
    return { ("%s is on its way from %s to %s"):format(name, row.reported, row.goal) }
  end
  return { not row.running and row.goal ~= "maintenance" and ("PostgreSQL does not run on %s"):format(name) or nil }
end

-- A report of the time before says nothing of now. By force a node is restarted whatever the others are.
local function wait_settled(context, name, since, force, resting)
  return settled.wait(context, "restart " .. name, function(formation)
    local problems = force and problems_of(formation, name)
      or state.problems(formation, operate.names(context), resting)
    local row = state.node(formation, name)
    if row and row.report_age > formation.at - since then
      problems[#problems + 1] = name .. " has not reported since it was restarted"
    end
    return problems
  end)
end

-- What clients feel of one that is started is what they felt before: commits may wait for it.
local function unmeasured(context) return setmetatable({ measure = false }, { __index = context }) end

local function restart_here(context, name, options, resting)
  local seconds
  if context.provider:node(name):status() ~= "running" then context = unmeasured(context) end
  local felt = meter.measure(context, function()
    local began = time.now()
    perform(context, name, options)
    local _, since = wait_settled(context, name, time.now(), options.force, any(resting))
    seconds = since - began
  end, options.force)
  return {
    changed = true, node = name, seconds = seconds, felt = felt,
    lines = operate.lines(("%s was restarted, and in its place after %.1f s"):format(name, seconds),
      meter.line(felt)),
  }
end

local function would(name, ...) return { node = name, would = operate.lines(...) } end

local function restart_monitor(context, name, options)
  local what = "restart " .. name
  if not options.force then
    settled.insist(context, what, function(formation)
      return state.problems(formation, operate.names(context), any(settled.resting(formation)))
    end, "a fail-over that is under way needs the monitor; --force does it all the same")
  end
  if context.check then return would(name, "restart the monitor " .. name) end
  return restart_here(context, name, options, settled.resting(settled.read(context)))
end

local function restart_standby(context, formation, name, options)
  local what = "restart " .. name
  local resting = settled.resting(formation)
  if not options.force then
    settled.insist(context, what, function(now)
      local others = settled.part(now, function(node) return node.name ~= name end)
      return state.problems(others, operate.names(context, name), resting)
    end, "commits may have to wait until it is back; --force does it all the same")
  end
  if context.check then return would(name, "restart the standby " .. name) end
  return restart_here(context, name, options, resting)
end

-- What lets a primary go: its role first.
local function restart_primary(context, name, options)
  if options.force then
    if context.check then return would(name, ("restart %s although it is the primary"):format(name)) end
    return restart_here(context, name, options, settled.resting(settled.read(context)))
  end
  local moved = primary.move(context, { hint = "--force restarts it where it is: writes stop meanwhile" })
  if context.check then
    return would(name, moved.would[1], "restart the standby " .. name,
      options.switch_back and ("give %s its role back"):format(name) or nil)
  end
  local result = restart_here(context, name, options, {})
  result.moved = { from = moved.from, to = moved.to, felt = moved.felt }
  table.move(result.lines, 1, #result.lines, #moved.lines + 1, moved.lines)
  result.lines = moved.lines
  if options.switch_back then
    local back = primary.move(context, { to = name })
    result.moved_back = { from = back.from, to = back.to, felt = back.felt }
    table.move(back.lines, 1, #back.lines, #result.lines + 1, result.lines)
  end
  return result
end

---Restarts a node, verifies that another server runs, and that the formation is settled.
---@param context pgaf.operate.Context
---@param name string
---@param options pgaf.operate.Restart
---@return pgaf.operate.Result
function restart.node(context, name, options)
  local what = "restart " .. name
  check_machine(context, name, options, what)
  if name == context.inventory.monitor.name then
    local answers, formation = pcall(settled.read, context)
    task.check()
    -- One that does not answer is restarted because of that.
    if not answers then
      if context.check then return would(name, "restart the monitor " .. name) end
      context.say(tostring(formation))
      return restart_here(unmeasured(context), name, options, {})
    end
    return restart_monitor(context, name, options)
  end
  local formation = settled.read(context)
  local row = state.node(formation, name)
  if not row then
    operate.refuse(what, name .. " is not registered at the monitor",
      "pgafrun add-node " .. name .. " makes it a member")
  end
  if primary.leads(row) then
    return restart_primary(context, name, options)
  end
  return restart_standby(context, formation, name, options)
end

return restart
