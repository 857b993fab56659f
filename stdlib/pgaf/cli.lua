-- A script's own arguments, declared with argparse, and the inventory that pgafrun was given with -i.
--
--   local args, inventory = cli.parse({ name = "postgres_ha", description = "..." }, function(parser)
--     parser:flag("--json", "one event a line")
--   end, ...)

local argparse = require "argparse"
local error = require "pgafrun.error"
local program = require "pgafrun.program"

local cli = {}

local function exit(status) error.raise { kind = "exit", message = "exit", status = status } end

local function usage(message)
  error.raise { kind = "usage", message = message }
end

---@class pgaf.cli.Spec
---@field name string as in `pgafrun scripts/NAME.lua`
---@field description string what the script does, for --help
---@field epilog? string examples, exit codes
---@field inventory? boolean load the inventory of -i and return it as second result; default true

---Parses a script's arguments. A usage error is one line and exit code 64; --help prints and ends with 0.
---@param spec pgaf.cli.Spec
---@param declare? fun(parser: table) adds arguments, in argparse's words
---@param ... string the script's arguments
---@return table<string, any> arguments, pgaf.Inventory? inventory
function cli.parse(spec, declare, ...)
  local parser = argparse(spec.name, spec.description, spec.epilog)
  parser:add_help(false)
  parser:usage_max_width(100)
  parser:help_max_width(110)
  parser:flag("-h --help", "Show this text and exit."):action(function()
    print(parser:get_help())
    exit(0)
  end)
  if declare then declare(parser) end
  function parser.error(_, message) usage(("%s: %s (--help tells the usage)"):format(spec.name, message)) end
  local arguments = parser:parse { ... }
  if spec.inventory == false then return arguments end
  return arguments, cli.inventory(spec.name)
end

---The inventory that -i names, loaded and checked.
---@param name string the script's, for the message
---@return pgaf.Inventory
function cli.inventory(name)
  if not program.inventory then
    usage(("%s: which formation? Name its inventory: pgafrun -i scripts/inventory/local.lua %s"):format(
      name, program.script or name))
  end
  return require("pgaf.inventory").load(program.inventory)
end

return cli
