-- Providers make and break nodes. Which one it is, the inventory says.
--
--     local group <close> = task.group()
--     local provider <close> = require("pgaf.provider").open(inventory, group)

local provider = {}

local MODULES = { incus = "pgaf.provider.incus", ["local"] = "pgaf.provider.localhost" }

---Opens the inventory's provider; checks nothing (provider:check() does).
---@param inventory table as pgaf.inventory loads it
---@param group? pgafrun.Group for what goes on in the background while a lock is held; leave it after the provider
---@return pgaf.Provider
function provider.open(inventory, group)
  local kind = inventory.provider.kind
  local name = assert(MODULES[kind], "no provider of kind " .. tostring(kind))
  return require(name).open(inventory, group)
end

return provider
