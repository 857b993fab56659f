-- Staging: production's formation on less. Builds on common.lua: maps are merged, lists and single values replaced.
--
--     pgafrun inventory -i scripts/inventory/staging.lua       what comes of it, and where each value was written

local inventory = require "pgaf.inventory"
local secret = require "pgaf.secret"

return inventory.extend("common.lua", {
  environment = "staging",
  formation = "pgaf-stage",
  provider = { remote = "staging" },

  monitor = { name = "pgaf-stage-monitor" },
  nodes = {
    { name = "pgaf-stage-1" },
    { name = "pgaf-stage-2" },
  },

  application = { password = secret.env "STAGING_APP_PASSWORD", networks = { "10.30.0.0/16" } },
  operator_networks = { "10.30.1.0/24" },

  groups = {
    data = { node = { limits = { cpu = 2, memory = "2GiB" } } },
  },
})
