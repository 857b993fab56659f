-- The monitor of a pg_auto_failover formation, from its folders to a server that answers. Everything about it is in
-- the formation's inventory; all machines are there, with their packages.
--
--     local formation = require("pgaf.autofailover.formation").open(place, inventory)
--     p:step { "monitor", on = "monitor", timeout = 600, learns = true,
--              resource = resource.pgaf_monitor { formation = formation } }
--     p:step { "nodes", on = "data", serial = 1, timeout = 600, needs = { "monitor" },
--              resource = resource.pgaf_node { formation = formation } }
--     function p.before(mode) return not mode.check and formation:claim "site" or nil end
--
-- The certificates of the nodes come from the monitor: `learns` has it looked at also where --limit leaves it out. The
-- claim is the formation's lock, and refuses instances of these names that are not the formation's.

local cluster = require "pgaf.autofailover.cluster"
local composite = require "pgaf.autofailover.composite"
local host = require "pgaf.autofailover.host"
local member = require "pgaf.autofailover.member"
local passwords = require "pgaf.autofailover.passwords"
local pki = require "pgaf.autofailover.pki"
local resource = require "pgaf.resource"
local roles = require "pgaf.autofailover.roles"
local settings = require "pgaf.autofailover.settings"

---@class pgaf.PgafMonitorOptions
---@field formation pgaf.Formation

return resource.define {
  kind = "pgaf_monitor",
  parameters = { formation = { composite.formation, required = true } },
  name = function(options) return options.formation.monitor.name end,
  make = function(options)
    local formation = options.formation
    local function of_formation(part)
      return function() return part(formation) end
    end
    return composite.new {
      target = formation.monitor,
      parts = {
        of_formation(cluster.survey), composite.names(formation), host.folders(formation), of_formation(passwords.kept),
        of_formation(pki.authority), pki.server(formation), settings.files(formation), settings.loaded,
        settings.in_force(formation), host.service(formation), cluster.offline(formation),
        composite.first(member.monitor(formation)), of_formation(roles.on_monitor),
      },
    }
  end,
}
