-- Switches a node on or off, behind the monitor's back: power.lua NODE on|off

local cli = require "pgaf.cli"
local providers = require "pgaf.provider"

local args, inventory = cli.parse({ name = "power", description = "Switch a node on or off." }, function(parser)
  parser:argument "node"
  parser:argument("state"):choices { "on", "off" }
end, ...)

local provider <close> = providers.open(inventory)
local node = provider:node(args.node)
if args.state == "off" then node:stop { force = true } else node:start() end
