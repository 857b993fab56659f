-- Moves the role of the primary on purpose, while everything works: about a second and a half without writes, where a
-- primary that is stopped costs as much as one that crashed.

local error = require "pgafrun.error"
local meter = require "pgaf.operate.meter"
local operate = require "pgaf.operate"
local settled = require "pgaf.operate.settled"
local state = require "pgaf.autofailover.state"
local time = require "pgafrun.time"

local PROMOTE_SQL = "select pgautofailover.perform_promotion($1, $2) as promoted"

local primary = {}

-- The one with the highest priority; of equals one that commits wait for, and then the first that registered.
local function before(a, b)
  if a.candidate_priority ~= b.candidate_priority then return a.candidate_priority > b.candidate_priority end
  if a.replication_quorum ~= b.replication_quorum then return a.replication_quorum end
  return a.nodeid < b.nodeid
end

---The standby that takes over best; nil where none may.
---@param formation pgaf.FormationState
---@return pgaf.NodeState?
function primary.successor(formation)
  local best
  for _, node in ipairs(formation.nodes) do
    local fit = node.reported == "secondary" and node.goal == "secondary" and node.health == 1
      and node.candidate_priority > 0
    if fit and (not best or before(node, best)) then best = node end
  end
  return best
end

local LEADS = { primary = true, wait_primary = true, single = true }

---Does it take writes, or shall it?
---@param node pgaf.NodeState
---@return boolean
function primary.leads(node) return LEADS[node.goal] or false end

---@param formation pgaf.FormationState
---@return string? name of whoever leads, also without a standby
function primary.name(formation)
  for _, node in ipairs(formation.nodes) do
    if node.reported == node.goal and primary.leads(node) then return node.name end
  end
end

-- Where other standbys may be away: the two that matter are well, and nobody who reports is on his way.
local function problems_of_two(formation, from, to)
  local two = settled.part(formation, function(node) return node.name == from or node.name == to end)
  local problems = state.problems(two, { from, to })
  for _, node in ipairs(formation.nodes) do
    local moves = node.reported ~= node.goal and node.report_age < state.FRESH_SECONDS
    if moves and node.name ~= from and node.name ~= to then
      problems[#problems + 1] = ("%s is on its way from %s to %s"):format(node.name, node.reported, node.goal)
    end
  end
  return problems
end

---@class pgaf.operate.Move
---@field to? string default: whoever takes over best
---@field degraded? boolean other standbys than that one may be away or in maintenance
---@field hint? string what else can be done where the formation is not fit for it

-- Before it is asked for; the primary is looked for anew at each look.
local function judge_before(context, options)
  return function(formation)
    if not options.degraded then return state.problems(formation, operate.names(context)) end
    local from = primary.name(formation)
    if not from then return { "no node is primary" } end
    return problems_of_two(formation, from, options.to)
  end
end

local function judge_after(context, options, from, to)
  return function(formation)
    local problems = options.degraded and problems_of_two(formation, from, to)
      or state.problems(formation, operate.names(context))
    local now = state.primary(formation)
    if now and now.name ~= to then problems[#problems + 1] = ("%s is primary, and not %s"):format(now.name, to) end
    return problems
  end
end

-- The monitor's word is one thing, where writes go another.
local function verify(context, to)
  local connection <close> = context.reach:primary("operate")
  local wanted = context.provider:node(to).hostname
  if connection.host == wanted then return end
  error.raise {
    kind = "verify", operation = "promote " .. to,
    message = ("the monitor says that %s is primary, and writes go to %s"):format(to, connection.host),
    hint = "pgafrun state shows the formation",
  }
end

---@class pgaf.operate.Moved: pgaf.operate.Result
---@field from string
---@field to string
---@field seconds? number from the request until the formation was whole
---@field felt? pgaf.operate.Felt

---Moves the role and waits until all nodes have their places. Raises kinds "unhealthy" and "refused" before anything
---was touched.
---@param context pgaf.operate.Context
---@param options pgaf.operate.Move
---@return pgaf.operate.Moved
function primary.move(context, options)
  local what = options.to and "promote " .. options.to or "switchover"
  local found = settled.read(context)
  local now = state.primary(found)
  if now and now.name == options.to then
    return { changed = false, from = now.name, to = now.name, lines = { now.name .. " is the primary already" } }
  end
  local formation = settled.insist(context, what, judge_before(context, options), options.hint)
  local from = primary.name(formation)
  local successor = options.to and state.node(formation, options.to) or primary.successor(formation)
  if not successor then
    operate.refuse(what, "no standby may take over: their candidate_priority is 0",
      "pgafrun promote NODE takes the one that is named")
  end
  local to = successor.name
  if context.check then
    return { from = from, to = to, would = { ("move the primary's role from %s to %s"):format(from, to) } }
  end
  context.say(("moving the primary's role from %s to %s"):format(from, to))
  local seconds
  local felt = meter.measure(context, function()
    local asked = time.now()
    settled.ask(context, PROMOTE_SQL, { context.inventory.formation_id, to })
    local _, since = settled.wait(context, what, judge_after(context, options, from, to))
    seconds = since - asked
  end)
  verify(context, to)
  return {
    changed = true, from = from, to = to, seconds = seconds, felt = felt,
    lines = operate.lines(
      ("%s is the primary, %s is a standby: whole again after %.1f s"):format(to, from, seconds), meter.line(felt)),
  }
end

return primary
