-- A data node of a pg_auto_failover formation, from its folders to a member that the monitor knows. The first one to
-- register makes the cluster, each other copies it: so they come one after the other, after the monitor.
--
--     p:step { "nodes", on = "data", serial = 1, timeout = 600, needs = { "monitor" },
--              resource = resource.pgaf_node { formation = formation } }

local composite = require "pgaf.autofailover.composite"
local host = require "pgaf.autofailover.host"
local member = require "pgaf.autofailover.member"
local pki = require "pgaf.autofailover.pki"
local resource = require "pgaf.resource"
local settings = require "pgaf.autofailover.settings"

---@class pgaf.PgafNodeOptions
---@field formation pgaf.Formation

return resource.define {
  kind = "pgaf_node",
  parameters = { formation = { composite.formation, required = true } },
  name = function(options) return options.formation.name end,
  make = function(options)
    local formation = options.formation
    return composite.new {
      role = "node",
      parts = {
        composite.names(formation), host.folders(formation), pki.server(formation), settings.files(formation),
        settings.loaded, settings.in_force(formation), host.service(formation), composite.first(member.node(formation)),
        member.keeper(formation),
      },
    }
  end,
}
