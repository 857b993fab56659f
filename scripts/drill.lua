-- Runs any drill of the catalogue, or one of your own. It breaks something on purpose, measures what clients feel,
-- judges it, and puts everything back.
--
--     pgafrun -i INVENTORY scripts/drill.lua --list
--     pgafrun -i INVENTORY scripts/drill.lua power-cut
--     pgafrun -i INVENTORY scripts/drill.lua my_drill.lua

local cli = require "pgaf.cli"
local conduct = require "pgaf.drill.conduct"
local faults = require "pgaf.drill.fault"
local finish = require "pgaf.drill.finish"

local function list()
  local _, names = faults.catalogue()
  for _, name in ipairs(names) do
    local fault = faults.load(name)
    local needs = fault.nodes > 2 and { fault.nodes .. " data nodes" } or {}
    table.move(fault.needs, 1, #fault.needs, #needs + 1, needs)
    local wanted = #needs > 0 and (" (needs %s)"):format(table.concat(needs, ", ")) or ""
    print(("%-28s %s%s"):format(name, fault.title, wanted))
  end
end

local function declare(parser)
  parser:argument("fault", "A name of the catalogue, or a file of your own."):args "?"
  parser:flag("--list", "Name the faults of the catalogue, and exit."):action(function()
    list()
    cli.exit(0)
  end)
  conduct.declare(parser)
end

return finish.run({
  name = "drill",
  description = "Break something on purpose, prove that the formation survives it as expected, and put all back.",
  epilog = conduct.EXIT_CODES,
}, declare, function(args, ...)
  if not args.fault then cli.usage "drill: which fault? --list names them" end
  return conduct.drill(faults.load(args.fault), args, ...)
end, ...)
