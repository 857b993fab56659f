-- Production: three data nodes in two places, one of which is only for disasters. Builds on common.lua.

local inventory = require "pgaf.inventory"
local secret = require "pgaf.secret"

return inventory.extend("common.lua", {
  environment = "production",
  formation = "pgaf-prod",
  provider = { remote = "production", project = "databases" },

  monitor = { name = "pgaf-prod-monitor", target = "host-3" },
  nodes = {
    { name = "pgaf-prod-1", target = "host-1" },
    { name = "pgaf-prod-2", target = "host-2" },
    { name = "pgaf-prod-far", vars = { backup_hour = 1 } },
  },

  groups = {
    near = { hosts = { "pgaf-prod-1", "pgaf-prod-2" } },
    far = {
      hosts = { "pgaf-prod-far" },
      node = { target = "host-9", candidate_priority = 0, replication_quorum = false },
      vars = { backup_hour = 2 }, -- over the common one, under the node's own
    },
  },

  application = {
    -- the value of a file that ansible-vault encrypted; its password: --vault-password-file
    password = secret.vault { file = "production-vault.yml", key = "app_password" },
    networks = { "10.20.0.0/16" },
  },
  operator_networks = { "10.20.1.0/24" },
})
