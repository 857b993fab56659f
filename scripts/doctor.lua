-- Says what is there and what is missing: this machine, the Incus server, the formation, each node. Touches nothing.
--
--     pgafrun doctor                               this machine alone
--     pgafrun -i INVENTORY doctor --rto 30         and a formation: not made yet, whole, or half down

local cli = require "pgaf.cli"
local doctor = require "pgaf.doctor"
local json = require "pgafrun.json"
local program = require "pgafrun.program"
local report = require "pgaf.doctor.report"
local sheet = require "pgaf.doctor.sheet"
local tty = require "pgafrun.tty"

local SPEC = {
  name = "doctor",
  description = "Look at everything that a formation needs, and say what is missing and what mends it.",
  epilog = [[
Without an inventory, this machine alone. With -q, only what is not well.
Exit codes:
  0    nothing is wrong (a warning or an unknown is no problem)
  1    there is a problem: its line says what mends it
  3    something needed is missing, or could not be looked at
  64   usage, or a mistake in the inventory]],
  inventory = false,
}

local args = cli.parse(SPEC, function(parser)
  parser:option("--rto", "Seconds that clients may be unable to write: do the timers keep it?"):default("60")
    :convert(cli.positive):argname "SECONDS"
  parser:flag("--json", "One JSON object.")
  cli.inventory_options(parser)
end, ...)

local findings, inventory
if args.inventory or program.inventory then
  inventory = cli.inventory(SPEC.name, args)
  findings = doctor.examine(inventory, args.rto)
else
  findings = doctor.examine_machine()
end

local code = sheet.exit_code(findings)
if args.json then
  print(json.encode({
    exit_code = code, formation = inventory and inventory.formation, inventory = inventory and program.inventory,
    rto = inventory and args.rto, findings = json.as_array(findings),
  }, { indent = 2 }))
else
  local options = { colour = tty.is_terminal(1), quiet = program.verbosity < 0 }
  for _, line in ipairs(report.lines(findings, options)) do print(line) end
end
return code
