-- Shows the settings that a formation runs with now, and where they are not what its inventory says.
--
--     pgafrun -i INVENTORY settings
--     pgafrun -i INVENTORY settings max_connections log_min_duration_statement
--     pgafrun -i INVENTORY settings --differing

local columns = require "pgaf.columns"
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local operate = require "pgaf.operate"
local settings = require "pgaf.operate.settings"

local DIFFERS = 2

local function remark(one)
  local words = {}
  if one.differs then words[1] = ("the inventory says %s"):format(one.wanted) end
  if one.pending_restart then words[#words + 1] = "another value waits for a restart" end
  return table.concat(words, "; ")
end

return operate.script({
  name = "settings",
  description = "Show the monitor's timers, the formation's and the data nodes' settings as they are now.",
  codes = "  2    something differs from the inventory: pgafrun postgres_ha --tags settings sets it",
}, function(parser)
  parser:argument("names", "Further settings of the data nodes."):args "*"
  parser:flag("--differing", "Only those that are not as the inventory says, or wait for a restart.")
end, function(context, args)
  local list, problems = settings.read(context, args.names)
  local unknown = settings.unknown(list, args.names)
  if #unknown > 0 and not next(problems) then
    error.raise {
      kind = "usage", message = "settings: no server has a setting " .. table.concat(unknown, ", "),
    }
  end
  for name, problem in pairs(problems) do log.warn(name .. " cannot be asked", { why = problem }) end
  local found, rows, differs = json.as_array(), {}, false
  for _, one in ipairs(list) do
    differs = differs or one.differs
    if not args.differing or one.differs or one.pending_restart then
      found[#found + 1] = one
      rows[#rows + 1] = { one.where, one.name, one.value, remark(one) }
    end
  end
  return {
    settings = found, unasked = problems, lines = columns.lines(rows),
    code = next(problems) and operate.FAILED or differs and DIFFERS or operate.DONE,
  }
end, ...)
