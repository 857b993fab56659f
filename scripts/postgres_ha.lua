-- Provisions a PostgreSQL formation with automatic fail-over, or brings one back to what its inventory says.
--
--     pgafrun -i scripts/inventory/local.lua scripts/postgres_ha.lua
--     ... --check --diff                    what would it change? Nothing is touched, no lock is taken
--     ... --tags settings --limit data      only the settings, only on the data nodes
--     ... --list-tasks, --graph             what there is to do, and in which order
--
-- A run that was killed half-way is repeated; a second run changes nothing.
--
-- Targets: the monitor (group `monitor`), the data nodes (`data`; `quorum`: those that commits wait for), and whatever
-- groups the inventory has. What each step looks at and changes is in stdlib/pgaf/autofailover/.

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
local peers = require "pgaf.autofailover.peers"
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
local first = formation.nodes[1].name
local beginning = play.on("instance", { "monitor", first }) -- who all others need
local has_packages = place:can "packages" -- else the programs are this machine's own

local p = play.new {
  title = "PostgreSQL HA " .. formation.name, targets = formation.targets, groups = inventory.groups,
}

local machines = p:section { "The machines", tags = "machines" }

-- Launched from an image that has the packages already: the first run makes it.
if has_packages then
  machines:step { "image", on = "monitor", timeout = 3600, resource = packages.image(formation) }
end
machines:step {
  "instance", makes_target = true, needs = has_packages and "image" or nil, resource = host.instance,
}
machines:step { "survey", on = "monitor", learns = true, needs = "instance", resource = cluster.survey(formation) }
if has_packages then
  machines:step {
    "names of the nodes", needs = { "instance", beginning }, resource = peers.first_names(formation),
  }
end

local programs = p:section { "Packages", tags = "install" }

if has_packages then
  if inventory.postgres.source == "pgdg" then
    programs:step { "package source", needs = "instance", resource = packages.source(formation) }
  end
  programs:step { "no default cluster", needs = "instance", resource = packages.no_default_cluster() }
  programs:step {
    "packages", timeout = 1800, resource = packages.installed(formation),
    needs = { "no default cluster", inventory.postgres.source == "pgdg" and "package source" or nil },
  }
end
programs:step { "folders", needs = has_packages and "packages" or "instance", resource = host.folders(formation) }

local configuration = p:section { "Passwords, certificates, settings", tags = "config" }

configuration:step {
  "passwords", on = "monitor", tags = "passwords", learns = true, needs = "folders",
  resource = passwords.kept(formation),
}
configuration:step {
  "certificate authority", on = "monitor", tags = "tls", learns = true, needs = "folders",
  resource = pki.authority(formation),
}
configuration:step {
  "certificate", tags = "tls", needs = { "folders", "certificate authority" },
  resource = pki.server(formation), notify = "reload PostgreSQL",
}
configuration:step {
  "settings", tags = "settings", resource = settings.files(formation, peers.first_access),
  notify = "reload PostgreSQL",
  needs = { "certificate", "passwords", has_packages and "names of the nodes" or beginning },
}
configuration:step {
  "settings in force", tags = "settings", needs = { "settings", "reload PostgreSQL" },
  resource = settings.in_force(formation),
}
-- It needs no more than the settings: systemd takes a second for it, which passes while the clusters are made.
configuration:step { "service", tags = "service", needs = "settings", resource = host.service(formation) }

p:handler { "reload PostgreSQL", resource = settings.loaded }
p:handler { "reload access", resource = settings.loaded }

local monitor = p:section { "The monitor", on = "monitor", tags = "monitor" }

-- In a formation made from nothing the first data node's cluster is made here too; the others get copies of it.
monitor:step {
  "cluster", on = { "monitor", first }, tags = "node", needs = { "folders", "passwords", "survey" },
  resource = cluster.offline(formation),
}
monitor:step { "monitor", needs = { "cluster", "service" }, timeout = 600, resource = member.monitor(formation) }
monitor:step { "monitor's roles", tags = "roles", needs = "monitor", resource = roles.on_monitor(formation) }

local data_nodes = p:section { "The data nodes", on = "data", tags = "node" }

-- One after the other: the first to register becomes the primary. It does not wait for the others' machines; they are
-- let in when all are there. However long a copy of the data takes, it goes on as long as there is progress.
local a_day = 24 * 3600
data_nodes:step {
  "first member", on = first, timeout = a_day, resource = member.node(formation),
  needs = { "monitor", "cluster", "service", "settings in force" },
}
data_nodes:step {
  "access", on = "all", tags = { "config", "settings" }, resource = settings.peers(formation), notify = "reload access",
  needs = { "settings", "reload PostgreSQL", "first member", "monitor", everywhere "instance" },
}
if #formation.nodes > 1 then
  data_nodes:step {
    "member", on = "data:!" .. first, serial = 1, timeout = a_day, resource = member.node(formation),
    needs = { "first member", "service", "settings in force", everywhere "access", everywhere "reload access" },
  }
end
data_nodes:step {
  "keeper", tags = "settings", resource = member.keeper(formation),
  needs = { "first member", #formation.nodes > 1 and everywhere "member" or nil },
}

local whole = p:section { "The formation", tags = "formation" }

whole:step { "whole", on = "monitor", needs = { everywhere "keeper" }, resource = registration.whole(formation) }
whole:step {
  "formation settings", on = "monitor", tags = "settings", needs = "whole",
  resource = registration.settings(formation),
}
-- What applications see of it, on whichever data node is the primary now.
whole:step { "roles", on = "data", tags = "roles", needs = "whole", resource = roles.on_primary(formation) }
if arguments.prune_images and has_packages then
  whole:step { "old images", on = "monitor", needs = "whole", resource = packages.old_images(formation) }
end

-- Nothing is touched before all of this is right; a look takes no lock.
function p.before(mode)
  passwords.check(inventory)
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
