-- Shows a formation as its monitor knows it, and the URI that applications use.

local cli = require "pgaf.cli"
local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local judge = require "pgaf.drill.judge"
local log = require "pgafrun.log"
local providers = require "pgaf.provider"
local task = require "pgafrun.task"
local view = require "pgaf.autofailover.view"

local SPEC = {
  name = "state",
  description = "Show the formation's nodes, whether it is whole, and the application's URI.",
  epilog = [[
Exit codes:
  0    the formation is whole
  1    it is not: the reasons are told
  3    the monitor cannot be reached, or a tool or a permission is missing
  64   usage, or a mistake in the inventory]],
}

local function declare(parser)
  parser:flag("--json", "One JSON object.")
end

local args, inventory = cli.parse(SPEC, declare, ...)

local ok, found = pcall(function()
  local provider <close> = providers.open(inventory)
  provider:check()
  local reach <close> = connect.open(provider, inventory)
  return view.gather(provider, reach, inventory)
end)
if not ok then
  task.check()
  if not error.is(found) then error.raise { kind = "internal", message = tostring(found) } end
  log.error(tostring(found))
  return judge.MISSING
end
print(args.json and json.encode(found, { indent = 2 }) or table.concat(view.lines(found), "\n"))
return found.whole and judge.PASSED or judge.UNHEALTHY
