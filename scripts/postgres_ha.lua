-- Provisions a PostgreSQL formation with automatic fail-over, or brings one back to what its inventory says.
--
--     pgafrun -i scripts/inventory/local.lua scripts/postgres_ha.lua
--
-- A run that was killed half-way is repeated; a second run changes nothing.

local cli = require "pgaf.cli"
local formations = require "pgaf.autofailover.formation"
local play = require "pgaf.play"
local provider = require "pgaf.provider"
local task = require "pgafrun.task"

local cluster = require "pgaf.autofailover.cluster"
local host = require "pgaf.autofailover.host"
local member = require "pgaf.autofailover.member"
local packages = require "pgaf.autofailover.packages"
local passwords = require "pgaf.autofailover.passwords"
local pki = require "pgaf.autofailover.pki"
local registration = require "pgaf.autofailover.registration"
local roles = require "pgaf.autofailover.roles"
local settings = require "pgaf.autofailover.settings"
local summary = require "pgaf.autofailover.summary"

local arguments, inventory = cli.parse({
  name = "postgres_ha",
  description = "Provisions a PostgreSQL formation with automatic fail-over, or brings one back to what its " ..
    "inventory says.",
  epilog = "Exit code: 0 all is as the inventory says, 1 something failed, 2 with --check: something would change, " ..
    "64 wrong usage.",
}, play.options, ...)

local background <close> = task.group { name = "provider" }
local place <close> = provider.open(inventory, background)
local formation = formations.open(place, inventory)

local everywhere = play.everywhere
local monitor = { formation.monitor.name }
local nodes = formations.names(formation.nodes)
local first = { nodes[1] }
local has_packages = place:can "packages"

local p = play.new { title = "PostgreSQL HA " .. formation.name, targets = formation.targets }

-- Nothing is touched before all of this is right.
function p.before()
  passwords.reveal(inventory, inventory.application.password, "application.password")
  return formation:claim "postgres_ha"
end

-- The machines.
p:step { "instance", makes_target = true, tags = { "instances" }, resource = host.instance }
p:step { "survey", on = monitor, learns = true, needs = { "instance" }, resource = cluster.survey(formation) }

-- The programs, on all machines side by side.
if has_packages then
  p:step { "names of the nodes", needs = { everywhere "instance" }, resource = host.names(formation) }
  if inventory.postgres.source == "pgdg" then
    p:step { "package source", tags = { "packages" }, needs = { "instance" }, resource = packages.source(formation) }
  end
  p:step {
    "no default cluster", tags = { "packages" }, needs = { "instance" }, resource = packages.no_default_cluster(),
  }
  p:step {
    "packages", tags = { "packages" }, timeout = 1800, resource = packages.installed(formation),
    needs = { "no default cluster", inventory.postgres.source == "pgdg" and "package source" or nil },
  }
end
p:step { "folders", needs = { has_packages and "packages" or "instance" }, resource = host.folders(formation) }

-- Passwords, certificates, configuration.
p:step { "passwords", on = monitor, learns = true, needs = { "folders" }, resource = passwords.kept(formation) }
p:step {
  "certificate authority", on = monitor, tags = { "tls" }, needs = { "folders" }, resource = pki.authority(formation),
}
p:step {
  "certificate", tags = { "tls" }, needs = { "folders", "certificate authority", everywhere "instance" },
  resource = pki.server(formation),
}
p:step {
  "settings", tags = { "settings" }, resource = settings.files(formation),
  needs = { "certificate", "passwords", has_packages and "names of the nodes" or nil },
}
p:step {
  "settings in force", tags = { "settings" }, needs = { "settings" }, resource = settings.in_force(formation),
}

-- Not before: systemd takes a second for it, which passes while the clusters are made.
p:step { "service", needs = { "settings" }, resource = host.service(formation) }

-- The monitor, then the first data node, then the others one after the other: each finds its role by its turn.
p:step {
  "cluster", on = { monitor[1], first[1] }, needs = { "settings in force", "survey" },
  resource = cluster.offline(formation),
}
p:step {
  "monitor", on = monitor, needs = { "cluster", "service" }, timeout = 600, resource = member.monitor(formation),
}
for i, name in ipairs(nodes) do
  p:step {
    "member " .. i, on = { name }, tags = { "nodes" }, timeout = 600, resource = member.node(formation),
    needs = { "monitor", "service", "settings in force", i == 1 and "cluster" or "member " .. i - 1 },
  }
end
p:step {
  "keeper", on = nodes, tags = { "settings" }, needs = { "member " .. #nodes }, resource = member.keeper(formation),
}

-- The formation as a whole, and what applications see of it.
p:step { "whole", on = monitor, needs = { everywhere "keeper" }, resource = registration.whole(formation) }
p:step {
  "formation settings", on = monitor, tags = { "settings" }, needs = { "whole" },
  resource = registration.settings(formation),
}
p:step {
  "monitor's roles", on = monitor, tags = { "roles" }, needs = { "monitor" }, resource = roles.on_monitor(formation),
}
p:step { "roles", on = nodes, tags = { "roles" }, needs = { "whole" }, resource = roles.on_primary(formation) }

function p.after(result, tell)
  if result.failed then
    tell:say("mend the cause and run the same again: it goes on from there. To remove all of it: destroy.lua")
  elseif not result.mode.check then
    summary.tell(formation, tell)
  end
end

return play.main(p, arguments)
