-- While a formation is made from nothing its monitor looks at each node twice a second: a node that joins is taken for
-- a standby only when a health check has found it well, and with the usual 5 s between two of them that is most of the
-- time that joining takes. Afterwards the inventory's own period holds again. What a killed run leaves is a setting by
-- ALTER SYSTEM, which the step "settings in force" of the next one takes back.

local formations = require "pgaf.autofailover.formation"

local haste = {}

local NAME = "health_check_period"
local SETTING = "pgautofailover." .. NAME
local QUICK_MS = 500

local function set(formation, statement)
  formations.sql(formation.monitor, "postgres", statement .. ";\nselect pg_reload_conf();")
end

---Begins it, in a formation that is made from nothing.
---@param formation pgaf.Formation
---@return pgaf.Resource
function haste.begins(formation)
  return {
    kind = "health checks", name = formation.monitor.name,
    probe = function()
      local slow = formation.inventory.timers[NAME] > QUICK_MS
      return formation.from_nothing and slow and not formation.is_hasty and "for nodes that are there already" or nil
    end,
    apply = function()
      formation.is_hasty = true
      set(formation, ("alter system set %s = %d"):format(SETTING, QUICK_MS))
      return ("each %d ms while the nodes join"):format(QUICK_MS)
    end,
  }
end

---Ends it.
---@param formation pgaf.Formation
---@return pgaf.Resource
function haste.ends(formation)
  return {
    kind = "health checks", name = formation.monitor.name,
    probe = function() return formation.is_hasty and "for nodes that join" or nil end,
    apply = function()
      set(formation, "alter system reset " .. SETTING)
      formation.is_hasty = false
      return ("each %d ms, as the inventory says"):format(formation.inventory.timers[NAME])
    end,
  }
end

return haste
