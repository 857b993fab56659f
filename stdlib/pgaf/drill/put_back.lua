-- Puts back what a drill broke, from its journal: the drill itself does it when it is interrupted or fails, and
-- scripts/restore.lua after a drill that was killed. Looks before it acts, so it may be repeated at any time.

local throw = error
local error = require "pgafrun.error"
local failure = require "pgaf.failure"
local names_of = require "pgaf.names"
local pg = require "pgafrun.pg"
local task = require "pgafrun.task"
local time = require "pgafrun.time"
local state = require "pgaf.autofailover.state"
local undo = require "pgaf.drill.undo"
local workload = require "pgaf.drill.workload"

local RETRY_SECONDS = 1
local LONGEST_RETRY_SECONDS = 15
-- A state that does not move for so long, on a node that reports, is stuck: a restart of its pg_autoctl heals it.
local STUCK_SECONDS = 30

local put_back = {}

---@class pgaf.DrillContext
---@field provider pgaf.Provider
---@field reach pgaf.Reach
---@field inventory table

-- The provider's own troubles pass (a daemon that restarts, a connection that broke): tried until the deadline, at
-- longer and longer intervals. What was the matter last is what is told then.
local function insist(context, breakage, last, on_trouble)
  local pause = RETRY_SECONDS
  while true do
    local ok, problem = pcall(undo.perform, breakage, context.provider:node(breakage.node))
    if ok then break end
    last.problem = problem
    task.check()
    if not error.is(problem) or error.is(problem, "missing") or error.is(problem, "usage") then throw(problem, 0) end
    on_trouble(breakage.node, failure.first_line(problem))
    task.sleep(pause)
    pause = math.min(pause * 2, LONGEST_RETRY_SECONDS)
  end
  last.problem = nil
end

-- The last first; nodes that were broken twice need both.
local function undo_all(context, broken, options)
  local names, seen = {}, {}
  for i = #broken, 1, -1 do
    if options.once then
      undo.perform(broken[i], context.provider:node(broken[i].node))
    else
      insist(context, broken[i], options.last, options.on_trouble)
    end
    if not seen[broken[i].node] then names[#names + 1] = broken[i].node end
    seen[broken[i].node] = true
  end
  table.sort(names)
  return names
end

-- Restarts pg_autoctl, once, on a node whose reported state has not followed its goal for long although it reports.
local function heal_stuck(context, tried, on_trouble)
  return function(formation)
    for _, node in ipairs(formation.nodes) do
      local stuck = node.reported ~= node.goal and node.state_age > STUCK_SECONDS
        and node.report_age < state.FRESH_SECONDS
      if stuck and not tried[node.name] and context.provider:node(node.name):status() == "running" then
        tried[node.name] = true
        on_trouble(node.name, ("stuck in %s, wanted %s: restarting its pg_autoctl"):format(node.reported, node.goal))
        context.provider:node(node.name):service():restart()
      end
    end
  end
end

-- A stop that was still under way when it was given up may reach a node after it was started.
local function keep_running(context, names, on_trouble)
  return function()
    for _, name in ipairs(names) do
      local node = context.provider:node(name)
      if node:status() ~= "running" then
        on_trouble(name, "stopped again: starting it once more")
        undo.start(node)
      end
    end
  end
end

--- Waits until the formation is whole again, and helps where it is stuck.
---@param context pgaf.DrillContext
---@param names string[] nodes that were broken: they are kept running
---@param options { timeout: number, on_read?: fun(formation: pgaf.FormationState), on_trouble: fun(node, text) }
---@return pgaf.FormationState formation, number since
function put_back.wait_whole(context, names, options)
  local heal = heal_stuck(context, {}, options.on_trouble)
  local keep = keep_running(context, names, options.on_trouble)
  return state.wait_whole(function() return context.reach:monitor("drill") end, context.inventory.formation_id, {
    expected = names_of(context.inventory.nodes), timeout = options.timeout,
    on_read = function(formation, problems)
      if options.on_read then options.on_read(formation) end
      if #problems == 0 then return end
      keep()
      heal(formation)
    end,
  })
end

---@class pgaf.RepairOptions
---@field timeout number seconds until the formation has to be whole
---@field on_trouble fun(node: string, text: string)
---@field once? boolean the first trouble of undoing is raised; else it is insisted on until the caller's deadline
---@field last? table without `once`: its `problem` is what was the matter last
---@field on_undone? fun()
---@field on_read? fun(formation: pgaf.FormationState)

-- Of what the journal has as broken, what is undone before the formation is whole, or what after that.
local function chosen(journal, last)
  local list = {}
  for _, breakage in ipairs(journal.broken) do
    if undo.is_last(breakage.undo) == last then list[#list + 1] = breakage end
  end
  return list
end

--- Undoes all that the journal has as broken, waits until the formation is whole, and notes it.
---@param context pgaf.DrillContext
---@param journal pgaf.Journal
---@param options pgaf.RepairOptions
---@return pgaf.FormationState formation, number since
function put_back.repair(context, journal, options)
  local began = time.now()
  local broken = chosen(journal, false)
  local names = undo_all(context, broken, options)
  if options.on_undone then options.on_undone() end
  local formation, since = put_back.wait_whole(context, names, {
    timeout = math.max(1, options.timeout - (time.now() - began)), on_read = options.on_read,
    on_trouble = options.on_trouble,
  })
  for _, breakage in ipairs(broken) do journal:undone(breakage) end
  return formation, since
end

--- Drops the run's table. That this succeeds is the proof that the formation takes writes.
---@param context pgaf.DrillContext
---@param journal pgaf.Journal
function put_back.drop_table(context, journal)
  local connection <close> = context.reach:primary("drill clean-up")
  connection:query(("drop table if exists %s.%s"):format(workload.SCHEMA, pg.quote_ident(journal.opened.table_name)))
end

local function run(context, journal, options, last)
  local formation = put_back.repair(context, journal, {
    -- So that its own message, with the reasons, comes before the deadline of all.
    timeout = task.remaining() - 1, on_trouble = options.on_trouble, last = last,
  })
  if options.before_drop then options.before_drop() end
  put_back.drop_table(context, journal)
  for _, breakage in ipairs(chosen(journal, true)) do
    insist(context, breakage, last, options.on_trouble)
    journal:undone(breakage)
  end
  journal:close(options.outcome)
  return formation
end

---@class pgaf.PutBackOptions
---@field timeout number
---@field outcome string for the journal
---@field on_trouble fun(node: string, text: string)
---@field before_drop? fun() called when the formation is whole and the drill's table still there

--- All of it: nodes, formation, table, and the journal closed. Raises when the time passes first.
---@param context pgaf.DrillContext
---@param journal pgaf.Journal
---@param options pgaf.PutBackOptions
---@return pgaf.FormationState
function put_back.run(context, journal, options)
  local last = {}
  local ok, result = pcall(task.timeout, options.timeout, run, context, journal, options, last)
  if ok then return result end
  task.check()
  if error.is(result, "timeout", "deadline") and last.problem then throw(last.problem, 0) end
  throw(result, 0)
end

return put_back
