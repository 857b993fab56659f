-- Takes a node's pg_autoctl.cfg away, or gives it back: hide.lua NODE away|back

local cli = require "pgaf.cli"
local providers = require "pgaf.provider"

local args, inventory = cli.parse({ name = "hide", description = "Hide a node's configuration." }, function(parser)
  parser:argument "node"
  parser:argument("way"):choices { "away", "back" }
end, ...)

local provider <close> = providers.open(inventory)
local node = provider:node(args.node)
local cfg = node:paths().cfg
local from, to = cfg, cfg .. ".hidden"
if args.way == "back" then from, to = to, from end
node:run('mv -f "$from" "$to"', { user = provider.system_user, env = { from = from, to = to } })
