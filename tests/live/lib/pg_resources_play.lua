-- A play of somebody's own, from pgaf_* and pg_* resources only: a formation from nothing, and what is in it.
-- Run by tests/live/16_pg_resources.lua, with an inventory.

local cli = require "pgaf.cli"
local formations = require "pgaf.autofailover.formation"
local host = require "pgaf.autofailover.host"
local packages = require "pgaf.autofailover.packages"
local play = require "pgaf.play"
local process = require "pgafrun.process"
local provider = require "pgaf.provider"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"

local arguments, inventory = cli.parse({ name = "own_play" }, play.options, ...)

local background <close> = task.group { name = "provider" }
local place <close> = provider.open(inventory, background)
local formation = formations.open(place, inventory)
local demote = tonumber(process.getenv "DEMOTE") -- another timer than the inventory's
local priority = tonumber(process.getenv "PRIORITY") -- of the second node

local p = play.new { title = "own play", targets = formation.targets }
p:step { "instance", makes_target = true, resource = host.instance }
if place:can "packages" then
  p:step { "no default cluster", needs = { "instance" }, resource = packages.no_default_cluster() }
  p:step { "packages", timeout = 1800, needs = { "no default cluster" }, resource = packages.installed(formation) }
end
p:step {
  "monitor", on = "monitor", timeout = 300, learns = true,
  needs = { play.everywhere(place:can "packages" and "packages" or "instance") },
  resource = resource.pgaf_monitor { formation = formation },
}
p:step {
  "nodes", on = "data", serial = 1, timeout = 300, needs = { "monitor" },
  resource = resource.pgaf_node { formation = formation },
}
p:step {
  "timers", needs = { play.everywhere "nodes" },
  resource = resource.pgaf_timers { formation = formation, primary_demote_timeout = demote },
}
p:step {
  "formation", on = "monitor", timeout = 300, needs = { play.everywhere "timers" },
  resource = resource.pgaf_formation {
    formation = formation, nodes = { [inventory.nodes[2].name] = { candidate_priority = priority } },
  },
}
p:step {
  "role", on = "data", needs = { "formation" },
  resource = resource.pg_role { name = "reporting", password = secret.env "REPORTING_PASSWORD", on_primary = true },
}
p:step {
  "database", on = "data", needs = { "role" },
  resource = resource.pg_database { name = "reports", owner = "reporting", on_primary = true },
}
p:step {
  "extension", on = "data", needs = { "database" },
  resource = resource.pg_extension { name = "plpgsql", database = "reports", on_primary = true },
}
local setting = process.getenv "SETTING"
if setting then
  p:step {
    "setting", on = "data", needs = { "formation" }, resource = resource.pg_setting { name = setting, value = "on" },
  }
end

function p.before(mode) return not mode.check and formation:claim "own play" or nil end

return play.main(p, arguments)
