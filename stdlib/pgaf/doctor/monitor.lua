-- What the monitor answers: who it is, whether the formation is whole, whether somebody could be promoted, and whether
-- its timers keep the budget.

local budget = require "pgaf.doctor.budget"
local error = require "pgafrun.error"
local names_of = require "pgaf.names"
local program = require "pgafrun.program"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local monitor = {}

local LIMIT = 20
-- What is wrong for so long is no change of state that just happens, and no report that was a moment late.
local PATIENCE_SECONDS = 5

local function script(name) return ("pgafrun -i %s %s"):format(program.inventory or "INVENTORY", name) end

local EXTENSION_SQL = [[
select split_part(current_setting('server_version'), ' ', 1) as version, e.extversion as extension,
       (select default_version from pg_available_extensions where name = 'pgautofailover') as available
  from pg_extension e where e.extname = 'pgautofailover']]

local function look_at_versions(page, connection)
  local row = connection:query(EXTENSION_SQL, nil, { timeout = 5 }).rows[1]
  if not row then
    return page:missing("the monitor's database has no extension pgautofailover", script "postgres_ha")
  end
  page:ok(("the monitor answers: PostgreSQL %s, pg_auto_failover %s"):format(row.version, row.extension))
  if row.available and row.available ~= row.extension then
    page:warning(("its extension is %s, while %s is installed"):format(row.extension, row.available),
      "restart pgautofailover on the monitor: it updates the extension when it starts")
  end
end

local function read_formation(connection, inventory)
  local names, deadline = names_of(inventory.nodes), time.now() + PATIENCE_SECONDS
  while true do
    local formation = state.read(connection, inventory.formation_id)
    local problems = state.problems(formation, names)
    if #problems == 0 or time.now() > deadline then return formation, problems end
    task.sleep(0.25)
  end
end

local function look_at_formation(page, connection, inventory)
  local formation, problems = read_formation(connection, inventory)
  for _, text in ipairs(problems) do page:problem(text, script "state" .. " shows the nodes, their logs tell why") end
  if #problems == 0 then page:ok "the formation is whole" end
  local candidates = 0
  for _, node in ipairs(formation.nodes) do
    if node.candidate_priority > 0 and node.goal ~= "primary" then candidates = candidates + 1 end
  end
  if #formation.nodes > 1 and candidates == 0 then
    page:problem("no standby may be promoted: the candidate_priority of each is 0",
      "set candidate_priority in the inventory, then " .. script "postgres_ha")
  end
end

---The monitor and what it knows. Its node runs.
---@param inventory pgaf.Inventory
---@param reach pgaf.Reach
---@param rto number seconds
---@return pgaf.doctor.Check
function monitor.check(inventory, reach, rto)
  local function look(page)
    local ok, connection = pcall(reach.monitor, reach, "doctor")
    if not ok then
      task.check()
      if not error.is(connection) then return page:raised(connection) end
      page:missing(connection.message, connection.hint or
        ("journalctl -u pgautofailover on %s tells why"):format(inventory.monitor.name))
      return budget.look(page, inventory, require("pgaf.drill.tuning").seconds(inventory.timers), "the inventory", rto)
    end
    local open <close> = connection
    look_at_versions(page, open)
    look_at_formation(page, open, inventory)
    local timers = state.timers(open)
    budget.compare(page, inventory, timers)
    budget.look(page, inventory, timers, "the monitor", rto)
  end
  return { about = "formation", check = "monitor", limit = LIMIT, look = look }
end

return monitor
