-- A script's own arguments, declared with argparse, and the inventory that pgafrun was given with -i.
--
--   local args, inventory = cli.parse({ name = "postgres_ha", description = "..." }, function(parser)
--     parser:flag("--json", "one event a line")
--   end, ...)

local argparse = require "argparse"
local error = require "pgafrun.error"
local log = require "pgafrun.log"
local program = require "pgafrun.program"

local cli = {}

---Ends the program, from an option that only tells something.
---@param status integer
function cli.exit(status) error.raise { kind = "exit", message = "exit", status = status } end

---Ends the program with one line and exit code 64.
---@param message string
function cli.usage(message) error.raise { kind = "usage", message = message } end

---@class pgaf.cli.Spec
---@field name string as in `pgafrun scripts/NAME.lua`
---@field description string what the script does, for --help
---@field epilog? string examples, exit codes
---@field inventory? boolean load the inventory of -i and return it as second result; default true

---Declares what says which inventory is meant and adds to it. cli.parse does it for scripts that have one.
---@param parser table argparse's
function cli.inventory_options(parser)
  parser:option("-i --inventory", "The inventory, where it is not given before the script."):argname "FILE"
  parser:option("-e --extra-vars", "Wins over all files: key=value, @FILE (YAML, JSON, Lua) or JSON.")
    :argname "VALUE":count "*"
  parser:option("--vault-password-file", "Has or, when executable, prints the password of Ansible vaults.")
    :argname "FILE":count "*"
  parser:option("--vault-id", "The same, for vaults of one id: LABEL@FILE or LABEL@prompt."):argname "ID":count "*"
  parser:flag("--ask-vault-pass", "Ask for the password of Ansible vaults.")
end

-- A check runs the script once more, inside of itself: then this is passed.
local function check_syntax(arguments, ...)
  local syntax = require "pgaf.play.syntax"
  if program.script and not syntax.is_active() then syntax.check(arguments.inventory or program.inventory, ...) end
end

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
    cli.exit(0)
  end)
  if spec.inventory ~= false then cli.inventory_options(parser) end
  parser:flag("-v --verbose", "Tell more; twice: tracebacks too."):count "*"
  parser:flag("-q --quiet", "Tell failures alone."):count "*"
  if declare then declare(parser) end
  function parser.error(_, message) cli.usage(("%s: %s (--help tells the usage)"):format(spec.name, message)) end
  local arguments = parser:parse { ... }
  program.verbosity = program.verbosity + (arguments.verbose or 0) - (arguments.quiet or 0)
  if arguments.syntax_check then check_syntax(arguments, ...) end
  if spec.inventory == false then return arguments end
  return arguments, cli.inventory(spec.name, arguments)
end

---A converter for arguments.
---@param text string
---@return number? value, string? problem
function cli.positive(text)
  local value = tonumber(text)
  if value and value > 0 and value < math.huge then return value end
  return nil, ("a number above zero is wanted, not '%s'"):format(text)
end

---A converter for arguments.
---@param text string
---@return integer? value, string? problem
function cli.count(text)
  local value = math.tointeger(tonumber(text))
  if value and value > 0 and value <= 1000 then return value end
  return nil, ("a whole number from 1 to 1000 is wanted, not '%s'"):format(text)
end

---A formation marked production is drilled, or changed, only by who names it. Raises kind "usage".
---@param inventory pgaf.Inventory
---@param named? string what --i-know-this-is was given
---@param purpose string "to kill its primary"
function cli.confirm_production(inventory, named, purpose)
  if inventory.environment ~= "production" or named == inventory.formation then return end
  cli.usage(("formation %s is marked production: say --i-know-this-is %s %s"):format(
    inventory.formation, inventory.formation, purpose))
end

---Progress: one line on standard output; nothing with -q, and a log message with --log-format json.
---@param text string
function cli.say(text)
  if program.verbosity < 0 then return end
  if program.log_format == "json" then return log.info(text) end
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

local function given(list) return list and #list > 0 and list or nil end

---The inventory that -i names, loaded and checked.
---@param name string the script's, for the message
---@param arguments? table<string, any> as parsed, with those of cli.inventory_options
---@param options? pgaf.inventory.Options
---@return pgaf.Inventory
function cli.inventory(name, arguments, options)
  arguments, options = arguments or {}, options or {}
  local file = arguments.inventory or program.inventory
  if not file then
    cli.usage(("%s: which formation? Name its inventory: pgafrun -i scripts/inventory/local.lua %s"):format(
      name, program.script or name))
  end
  program.inventory = file
  options.extra = given(arguments.extra_vars)
  local files, ids = given(arguments.vault_password_file), given(arguments.vault_id)
  if files or ids or arguments.ask_vault_pass then
    options.vault = { files = files, ids = ids, ask = arguments.ask_vault_pass }
  end
  return require("pgaf.inventory").load(file, options)
end

return cli
