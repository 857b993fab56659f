-- The inventory: which nodes there are and how they shall be. A Lua file that returns one table; see
-- scripts/inventory/example.lua. It is checked whole, and every mistake is told at once with its file and line.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local rules = require "pgaf.autofailover.rules"
local secret = require "pgaf.secret"
local source_lines = require "pgaf.source_lines"

local inventory = {}

---@class pgaf.Inventory.Host
---@field name string
---@field port integer
---@field address string?
---@field limits { cpu: integer|string?, memory: string? }

---@class pgaf.Inventory.Node: pgaf.Inventory.Host
---@field candidate_priority integer
---@field replication_quorum boolean

---@class pgaf.Inventory
---@field file string
---@field environment "lab"|"staging"|"production"
---@field formation string
---@field formation_id string the formation's name inside pg_auto_failover
---@field provider table
---@field domain string
---@field monitor pgaf.Inventory.Host
---@field nodes pgaf.Inventory.Node[]
---@field postgres table
---@field formation_settings { number_sync_standbys: integer }
---@field timers table<string, integer>
---@field application table
---@field operator_networks string[]
---@field monitor_password any?
---@field replication_password any?

-- Mistakes with the line each was made on, in the file's order.
local function raise(file, text, problems)
  local lines = source_lines.read(text)
  for i, problem in ipairs(problems) do
    problem.line, problem.order = source_lines.find(lines, problem.path) or 1, i
  end
  table.sort(problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.order < b.order
  end)
  local told = {}
  for i, problem in ipairs(problems) do
    told[i] = ("%s:%d: %s: %s"):format(file, problem.line, problem.path, problem.message)
  end
  error.raise {
    kind = "inventory", message = (#told == 1 and "a mistake in the inventory:\n  " or
      ("%d mistakes in the inventory:\n  "):format(#told)) .. table.concat(told, "\n  "),
    problems = problems, where = ("%s:%d"):format(file, problems[1].line),
  }
end

-- Loading a chunk runs the operator's own code: what that raises is told as it is.
local function run(file, text)
  local chunk, message = load(text, "@" .. file, "t")
  if not chunk then error.raise { kind = "inventory", message = message, where = message:match("^(.-:%d+)") } end
  local value = chunk()
  if type(value) ~= "table" then
    error.raise {
      kind = "inventory", where = file .. ":1",
      message = ("%s: an inventory returns a table, this file returned %s"):format(file, type(value)),
    }
  end
  return value
end

-- From here on a password is a secret, wherever it came from.
local function hide_literals(result)
  local function hidden(value)
    if type(value) ~= "string" then return value end
    return secret.literal(value, result.environment == "lab")
  end
  result.application.password = hidden(result.application.password)
  result.monitor_password = hidden(result.monitor_password)
  result.replication_password = hidden(result.replication_password)
end

---Checks a table as if it had been read from `file`, whose text is used to find lines.
---@param value table
---@param file string
---@param text string
---@return pgaf.Inventory
function inventory.check(value, file, text)
  local problems = {}
  local function report(path, message) problems[#problems + 1] = { path = path, message = message } end
  local result = require "pgaf.inventory_schema"(value, "", report)
  if #problems == 0 then
    result.file, result.formation_id = file, "default"
    rules.complete(result)
    rules.check(result, report)
  end
  if #problems > 0 then raise(file, text, problems) end
  hide_literals(result)
  return result
end

---@param file string
---@return pgaf.Inventory
function inventory.load(file)
  local found, text = pcall(fs.read, file)
  if not found then
    error.raise {
      kind = "usage", message = ("cannot read the inventory %s"):format(file), cause = text,
      hint = "there are examples in scripts/inventory/",
    }
  end
  return inventory.check(run(file, text), file, text)
end

return inventory
