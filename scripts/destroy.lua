-- Removes a formation: every node that carries its tag, with its data. What does not carry it is left alone.
--
--     pgafrun -i scripts/inventory/local.lua scripts/destroy.lua --yes
--     ... --check                           what would be removed? Nothing is touched

local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local names_of = require "pgaf.names"
local play = require "pgaf.play"
local provider = require "pgaf.provider"
local report = require "pgaf.play.report"
local task = require "pgafrun.task"

local arguments, inventory = cli.parse({
  name = "destroy",
  description = "Removes all nodes that carry the formation's tag, with their data.",
  epilog = "Exit code: 0 nothing is left, 1 something failed, 2 with --check: something would be removed, 64 wrong " ..
    "usage. In production the formation's name has to be given as well: --name FORMATION --yes.",
}, function(parser)
  parser:flag("--yes", "Do it. Without it the nodes are listed, and nothing happens.")
  parser:option("--name", "The formation's name, as the inventory has it: wanted in production."):argname "FORMATION"
  play.options(parser)
end, ...)

local function refuse(message) error.raise { kind = "usage", message = "destroy: " .. message } end

if arguments.name and arguments.name ~= inventory.formation then
  refuse(("the inventory's formation is %q, not %q"):format(inventory.formation, arguments.name))
end
if inventory.environment == "production" and not arguments.name then
  refuse(("this is production: name the formation (--name %s)"):format(inventory.formation))
end

local background <close> = task.group { name = "provider" }
local place <close> = provider.open(inventory, background)
local nodes = place:nodes()
local targets = {}
for i, node in ipairs(nodes) do targets[i] = { name = node.name, node = node } end
if #nodes == 0 then
  local tell = report.new { json = arguments.json }
  tell:say(("formation %s has no nodes: nothing to remove"):format(inventory.formation))
  return 0
end
local names = table.concat(names_of(targets), ", ")
if not arguments.yes and not arguments.check then
  refuse(("this would remove %s with all data; say so with --yes"):format(names))
end

local p = play.new { title = "removal of " .. inventory.formation, targets = targets }
function p.before(mode) return not mode.check and place:lock "destroy" or nil end
p:step {
  "removed",
  probe = function(target) return target.node:status() ~= "absent" and "it would be deleted with its data" or nil end,
  ensure = function(target)
    target.node:delete()
    if target.node:status() == "absent" then return "deleted" end
    error.raise { kind = "verify", operation = "delete " .. target.name, message = target.name .. " is still there" }
  end,
}
return play.main(p, arguments)
