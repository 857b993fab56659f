-- Bakes, ahead of time, the image that the inventory's nodes are launched from, so that not even the first run of
-- postgres_ha installs anything.
--
--     pgafrun -i scripts/inventory/lab.lua bake
--     pgafrun -i scripts/inventory/lab.lua bake --prune

local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local packages = require "pgaf.autofailover.packages"
local play = require "pgaf.play"
local provider = require "pgaf.provider"
local task = require "pgafrun.task"

local arguments, inventory = cli.parse({
  name = "bake",
  description = "Bakes the image that the inventory's nodes are launched from: the base image with PostgreSQL and " ..
    "pg_auto_failover installed. One that is there and not too old is kept.",
  epilog = "Exit code: 0 the image is there, 1 something failed, 2 with --check: something would change, " ..
    "64 wrong usage.",
}, function(parser)
  play.options(parser)
  parser:flag("--prune", "Remove baked images that are too old, or that nobody wants any more.")
end, ...)

if inventory.provider.kind ~= "incus" or not inventory.provider.bake then
  error.raise {
    kind = "usage", message = "bake: the inventory has " .. (inventory.provider.kind ~= "incus"
      and "no Incus provider: there are no images" or "provider.bake = false: its nodes use no image"),
  }
end

local background <close> = task.group { name = "provider" }
local place <close> = provider.open(inventory, background)
local formation = formations.open(place, inventory)

local p = play.new { title = "images of " .. formation.name, targets = { { name = "server" } } }

p:step { "image", timeout = 3600, resource = packages.image_ahead(formation) }
if arguments.prune then p:step { "old images", needs = { "image" }, resource = packages.old_images(formation) } end

function p.before() place:check() end

return play.main(p, arguments)
