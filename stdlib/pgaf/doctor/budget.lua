-- Do the timers keep what is asked of a fail-over? The same arithmetic as before a drill.

local connect = require "pgaf.connect"
local guc = require "pgaf.postgres.guc"
local prediction = require "pgaf.drill.prediction"
local program = require "pgafrun.program"
local tuning = require "pgaf.drill.tuning"

local budget = {}

-- The primary's own demotion takes this long after network_partition_timeout (pgaf.drill.tuning).
local DEMOTION = 2

local function script(name) return ("pgafrun -i %s %s"):format(program.inventory or "INVENTORY", name) end

---@param page pgaf.doctor.Page
---@param inventory pgaf.Inventory
---@param timers table<string, number> seconds
---@param source string "the monitor", "the inventory"
---@param rto number seconds
function budget.look(page, inventory, timers, source, rto)
  local found = prediction.compute {
    timers = timers, standbys = #inventory.nodes - 1, silent = inventory.provider.kind ~= "local",
    connect_timeout = connect.CONNECT_TIMEOUT,
    wal_retrieve_retry_interval = guc.seconds(inventory.postgres.wal_retrieve_retry_interval, "ms"),
  }
  local longest = found.terms[1]
  for _, term in ipairs(found.terms) do
    if term.worst > longest.worst then longest = term end
  end
  local text = ("with the timers of %s a fail-over takes %.1f to %.1f s, --rto is %g s"):format(source, found.best,
    found.worst, rto)
  local mend = script(("tune_rto --target %g"):format(rto))
  if found.best > rto then
    page:problem(("%s: it cannot be kept (the longest part: %s)"):format(text, longest.setting), mend)
  elseif found.worst > rto then
    page:warning(("%s: it is not always kept (the longest part: %s)"):format(text, longest.setting), mend)
  else
    page:ok(text)
  end
  local partition = inventory.timers.network_partition_timeout
  if timers.primary_demote_timeout < partition + DEMOTION then
    page:problem(("primary_demote_timeout is %g s, network_partition_timeout %g s: a primary that is cut off may " ..
      "still take writes when another one does"):format(timers.primary_demote_timeout, partition),
      script "postgres_ha --tags settings")
  end
end

---Timers that the monitor has otherwise than the inventory.
---@param page pgaf.doctor.Page
---@param inventory pgaf.Inventory
---@param live table<string, number> seconds
function budget.compare(page, inventory, live)
  local wanted, different = tuning.seconds(inventory.timers), {}
  for _, name in ipairs(tuning.NAMES) do
    if name ~= "network_partition_timeout" and live[name] ~= wanted[name] then
      different[#different + 1] = ("%s is %s, not %g"):format(name, live[name] or "not known there", wanted[name])
    end
  end
  if #different == 0 then return page:ok "the monitor's timers are those of the inventory" end
  page:warning("the monitor's timers are not those of the inventory: " .. table.concat(different, ", "),
    script "postgres_ha")
end

return budget
