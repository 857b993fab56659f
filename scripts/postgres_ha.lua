-- Provisions a PostgreSQL formation with automatic fail-over, or brings one back to what its inventory says.
--
--     pgafrun -i scripts/inventory/local.lua scripts/postgres_ha.lua
--     pgafrun -i scripts/inventory/local.lua scripts/postgres_ha.lua --check --diff     what would it change?
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
}, function(parser)
  play.options(parser)
  parser:flag("--prune-images", "At the end, remove baked images that are too old, or that nobody wants any more.")
end, ...)

local background <close> = task.group { name = "provider" }
local place <close> = provider.open(inventory, background)
local formation = formations.open(place, inventory)
local everywhere = play.everywhere
local on_machines_of_their_own = place:can "packages"

-- Groups: monitor, data (the data nodes), quorum (those that commits wait for), and the inventory's own.
local p = play.new { title = "PostgreSQL HA " .. formation.name, targets = formation.targets }
local first = formation.nodes[1].name

-- ------------------------------------------------------------------------------------------------- The machines

-- Launched from an image that has the packages already: the first run makes it.
if on_machines_of_their_own then
  p:step { "image", on = "monitor", tags = { "machines" }, timeout = 3600, resource = packages.image(formation) }
end
p:step {
  "instance", tags = { "machines" }, makes_target = true, needs = { on_machines_of_their_own and "image" or nil },
  resource = host.instance,
}
p:step {
  "survey", on = "monitor", tags = { "machines" }, learns = true, needs = { "instance" },
  resource = cluster.survey(formation),
}

-- ----------------------------------------------------------------------------- Packages, on all machines side by side

if on_machines_of_their_own then
  p:step {
    "names of the nodes", tags = { "install" }, needs = { everywhere "instance" }, resource = host.names(formation),
  }
  if inventory.postgres.source == "pgdg" then
    p:step { "package source", tags = { "install" }, needs = { "instance" }, resource = packages.source(formation) }
  end
  p:step {
    "no default cluster", tags = { "install" }, needs = { "instance" }, resource = packages.no_default_cluster(),
  }
  p:step {
    "packages", tags = { "install" }, timeout = 1800, resource = packages.installed(formation),
    needs = { "no default cluster", inventory.postgres.source == "pgdg" and "package source" or nil },
  }
end
p:step {
  "folders", tags = { "install" }, needs = { on_machines_of_their_own and "packages" or "instance" },
  resource = host.folders(formation),
}

-- ---------------------------------------------------------------------------- Passwords, certificates, configuration

p:step {
  "passwords", on = "monitor", tags = { "settings" }, learns = true, needs = { "folders" },
  resource = passwords.kept(formation),
}
p:step {
  "certificate authority", on = "monitor", tags = { "tls" }, learns = true, needs = { "folders" },
  resource = pki.authority(formation),
}
p:step {
  "certificate", tags = { "tls" }, needs = { "folders", "certificate authority", everywhere "instance" },
  resource = pki.server(formation),
}
p:step {
  "settings", tags = { "settings" }, resource = settings.files(formation),
  needs = { "certificate", "passwords", on_machines_of_their_own and "names of the nodes" or nil },
}
p:step {
  "settings in force", tags = { "settings" }, needs = { "settings" }, resource = settings.in_force(formation),
}

-- Not before: systemd takes a second for it, which passes while the clusters are made.
p:step { "service", tags = { "service" }, needs = { "settings" }, resource = host.service(formation) }

-- -------------------------------------------------------------------------------------------------- The monitor

p:step {
  "cluster", on = { "monitor", first }, tags = { "monitor", "node" }, needs = { "settings in force", "survey" },
  resource = cluster.offline(formation),
}
p:step {
  "monitor", on = "monitor", tags = { "monitor" }, needs = { "cluster", "service" }, timeout = 600,
  resource = member.monitor(formation),
}
p:step {
  "monitor's roles", on = "monitor", tags = { "monitor", "roles" }, needs = { "monitor" },
  resource = roles.on_monitor(formation),
}

-- ------------------------------------------------- The data nodes, one after the other: each finds its role by turn

for i, target in ipairs(formation.nodes) do
  p:step {
    "member " .. i, on = { target.name }, tags = { "node" }, timeout = 600, resource = member.node(formation),
    needs = { "monitor", "service", "settings in force", i == 1 and "cluster" or "member " .. i - 1 },
  }
end
p:step {
  "keeper", on = "data", tags = { "node", "settings" }, needs = { "member " .. #formation.nodes },
  resource = member.keeper(formation),
}

-- ------------------------------------------------------------- The formation, and what applications see of it

p:step {
  "whole", on = "monitor", tags = { "formation" }, needs = { everywhere "keeper" },
  resource = registration.whole(formation),
}
p:step {
  "formation settings", on = "monitor", tags = { "formation", "settings" }, needs = { "whole" },
  resource = registration.settings(formation),
}
p:step {
  "roles", on = "data", tags = { "roles" }, needs = { "whole" }, resource = roles.on_primary(formation),
}
if arguments.prune_images and on_machines_of_their_own then
  p:step {
    "old images", on = "monitor", tags = { "machines" }, needs = { everywhere "instance" },
    resource = packages.old_images(formation),
  }
end

-- Nothing is touched before all of this is right; a look takes no lock.
function p.before(mode)
  passwords.reveal(inventory, inventory.application.password, "application.password")
  if mode.check then return formation:look() end
  return formation:claim "postgres_ha"
end

function p.after(result, report)
  if result.failed then
    report:say("mend the cause and run the same again: it goes on from where it stopped. To remove all of it: " ..
      "destroy.lua")
  elseif not result.mode.check then
    summary.tell(formation, report)
  end
end

return play.main(p, arguments)
