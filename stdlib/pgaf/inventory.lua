-- The inventory: which nodes there are and how they shall be. A Lua file that returns one table (see
-- scripts/inventory/example.lua), which may build on another, or what Ansible has. It is checked whole, and every
-- mistake is told at once with the file and line where it was made.

local throw = error
local error = require "pgafrun.error"
local explain = require "pgaf.inventory.explain"
local extra = require "pgaf.inventory.extra"
local groups = require "pgaf.inventory.groups"
local layers = require "pgaf.inventory.layers"
local log = require "pgafrun.log"
local rules = require "pgaf.autofailover.rules"
local schema = require "pgaf.inventory_schema"
local secret = require "pgaf.secret"
local variables = require "pgaf.inventory.variables"
local vault = require "pgaf.vault"

local inventory = {}

---@class pgaf.Inventory.Host
---@field name string
---@field port integer
---@field address string?
---@field limits { cpu: integer|string?, memory: string? }
---@field vars table<string, any> its variables, as all files, groups and -e together say
---@field groups string[] that it is in, without all

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
---@field groups table<string, string[]> group -> nodes in the inventory's order; with all, monitor, data and quorum
---@field vars table<string, table<string, any>> node -> its variables
---@field notes pgaf.inventory.Note[] what of an Ansible inventory has no place here

---@class pgaf.inventory.Note
---@field file string
---@field line integer
---@field message string
---@field kind "unmapped"|"kept"|"needless" unmapped: nothing of it is used; kept: as a variable

---@class pgaf.inventory.Options
---@field extra? string[] extra variables as given with -e
---@field vault? pgaf.vault.Options where vault passwords come from
---@field strict? boolean what has no place here is a mistake
---@field quiet? boolean do not log what has no place here

---What the readers of files share.
---@class pgaf.inventory.Context
---@field keys pgaf.vault.Keys
---@field extra pgaf.inventory.Extra[]
---@field notes pgaf.inventory.Note[]
---@field problems table[] mistakes that readers found; is_unread: because of it something was not read at all

-- The variable of Ansible's that a key comes from, where the mistake is in one of its files.
local function hint(layered, problem)
  if not problem.path or problem.file:find("%.lua$") then return "" end
  for _, layer in ipairs(layered.layers) do
    local name = layer.hint and layer.hint(problem.path)
    if name then return (" (the variable %s)"):format(name) end
  end
  return ""
end

-- Mistakes with the place each was made at, in the files' order.
local function raise(layered, problems)
  local order = {}
  for i, layer in ipairs(layered.layers) do order[layer.file] = order[layer.file] or i end
  for i, problem in ipairs(problems) do
    if not problem.file then problem.file, problem.line = layered:place(problem.path) end
    problem.order, problem.at = i, order[problem.file] or 0
  end
  table.sort(problems, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    if a.line ~= b.line then return a.line < b.line end
    return a.order < b.order
  end)
  local told, seen = {}, {}
  for _, problem in ipairs(problems) do
    local text = ("%s: %s"):format(explain.place(problem.file, problem.line),
      problem.path and problem.path .. ": " .. problem.message .. hint(layered, problem) or problem.message)
    if not seen[text] then told[#told + 1] = text end
    seen[text] = true
  end
  error.raise {
    kind = "inventory", message = (#told == 1 and "a mistake in the inventory:\n  " or
      ("%d mistakes in the inventory:\n  "):format(#told)) .. table.concat(told, "\n  "),
    problems = problems, where = explain.place(problems[1].file, problems[1].line),
  }
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

-- What groups say for their nodes, as a layer below the nodes' own keys. Returns the table with them filled in, and
-- path -> the group's path for what came from a group.
local function with_group_keys(value, found)
  local result, origins, lent = layers.merge(value, {}), {}, {}
  local function lend(entry, path)
    if not layers.is_map(entry) or type(entry.name) ~= "string" then return entry end
    local copy = layers.merge(entry, {})
    for _, group in ipairs(found:sorted()) do
      if group.name == "all" or found:set(group.name)[entry.name] then
        for key, one in pairs(group.node) do
          local fits = path ~= "monitor" or schema.monitor_keys[key]
          if fits and entry[key] == nil then
            copy[key] = one
            origins[path .. "." .. key] = ("groups.%s.node.%s"):format(group.name, key)
          end
        end
      end
    end
    return copy
  end
  result.monitor = lend(value.monitor, "monitor")
  if type(value.nodes) == "table" then
    for key, entry in pairs(value.nodes) do
      lent[key] = math.type(key) == "integer" and lend(entry, ("nodes[%d]"):format(key)) or entry
    end
    result.nodes = lent
  end
  return result, origins
end

-- Sources of variables: those that files brought along, the inventory's own, the command line's.
local function sources_of(layered, found, extras)
  local list = {}
  for _, layer in ipairs(layered.layers) do
    for _, source in ipairs(layer.sources or {}) do list[#list + 1] = source end
  end
  local own = variables.of_inventory(layered.value, found, function(path) return layered:place(path) end)
  table.move(own, 1, #own, #list + 1, list)
  list[#list + 1] = extras
  return list
end

local function fill_in_groups(result, found, resolved)
  local names = {}
  for name in pairs(found.by_name) do names[name] = found:members(name) end
  names.quorum = {}
  result.groups, result.vars = names, {}
  for _, entry in ipairs { result.monitor, table.unpack(result.nodes) } do
    local values = {}
    for name, one in pairs(resolved[entry.name]) do values[name] = one.value end
    entry.vars, result.vars[entry.name] = values, values
    entry.groups = found:of(entry.name)
    if entry.replication_quorum then table.insert(names.quorum, entry.name) end
  end
end

local function strict_problems(context, problems)
  for _, note in ipairs(context.notes) do
    if note.kind == "unmapped" then
      problems[#problems + 1] = { file = note.file, line = note.line, message = note.message }
    end
  end
end

local function finish(layered, context, options)
  local problems, is_unread = context.problems, false
  for _, problem in ipairs(problems) do is_unread = is_unread or problem.is_unread end
  local function report(path, message, file, line)
    problems[#problems + 1] = { path = path, message = message, file = file, line = line }
  end
  local top, extra_source = extra.apply(context.extra, layered.value, schema.names, report)
  if next(top.value) then
    local all = table.move(layered.layers, 1, #layered.layers, 1, {})
    all[#all + 1] = top
    local file = layered.file
    layered = layers.stack(all)
    layered.file = file
  end
  local found = groups.build(layered.value, report)
  local value, origins = with_group_keys(layered.value, found)
  local function own(path, message)
    -- it may well be in what could not be read
    if not (is_unread and message == "is missing") then report(explain.lent(origins, path) or path, message) end
  end
  local result = schema.type(value, "", own)
  local resolved
  if #problems == 0 then
    resolved = variables.resolve(found.hosts, sources_of(layered, found, extra_source))
    result.file, result.formation_id = layered.file, "default"
    rules.complete(result)
    rules.check(result, own)
  end
  if options.strict then strict_problems(context, problems) end
  if #problems > 0 then raise(layered, problems) end
  hide_literals(result)
  fill_in_groups(result, found, resolved)
  result.notes = context.notes
  explain.keep(result, { layered = layered, groups = found, resolved = resolved, origins = origins })
  return result
end

-- A vault that cannot be opened is a mistake in the inventory's files like any other.
local function as_mistake(good, ...)
  if good then return ... end
  local raised = ...
  if not error.is(raised, "secret") then throw(raised, 0) end
  return error.raise { kind = "inventory", code = raised.code, message = raised.message, hint = raised.hint }
end

local function open(options)
  local keys = options.vault and vault.use(options.vault) or vault.current()
  return { keys = keys, extra = extra.parse(options.extra or {}, keys), notes = {}, problems = {} }
end

---Checks a table as if it had been read from `file`, whose text is used to find lines.
---@param value table
---@param file string
---@param text string
---@param options? pgaf.inventory.Options
---@return pgaf.Inventory
function inventory.check(value, file, text, options)
  options = options or {}
  local context = as_mistake(pcall(open, options))
  return finish(layers.stack { layers.of_lua(file, value, text) }, context, options)
end

---Reads an inventory. Every mistake is told in one error of kind "inventory". What an Ansible inventory says and has no
---place here is in the result's notes, and logged.
---@param file string
---@param options? pgaf.inventory.Options
---@return pgaf.Inventory
function inventory.load(file, options)
  options = options or {}
  local context = as_mistake(pcall(open, options))
  local result = finish(as_mistake(pcall(layers.read, file, context)), context, options)
  if not options.quiet then
    for _, note in ipairs(result.notes) do
      if note.kind == "unmapped" then log.warn(("%s:%d: %s"):format(note.file, note.line, note.message)) end
    end
  end
  return result
end

---Tells mistakes that only came to light when values were used, as those of reading are told. Raises kind "inventory".
---@param result pgaf.Inventory
---@param problems { path: string, message: string }[] path: "application.password"
function inventory.refuse(result, problems) raise(explain.layered(result), problems) end

---In an inventory file: another file's table with changes. See docs/inventories.md.
inventory.extend = layers.extend

---In an inventory file: an Ansible inventory, to build on.
inventory.ansible = layers.ansible

return inventory
