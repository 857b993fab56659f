-- Extra variables of the command line, which win over everything that files say:
--
--   -e postgres.version=15     a key of the inventory, with dots between its parts; nodes.NAME.KEY of one node
--   -e release=2024-11         a variable of all nodes
--   -e @file.yml               both kinds, from a file: YAML (vaults too), JSON, or Lua that returns a table
--   -e '{"release": 7}'        both kinds, as JSON

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local layers = require "pgaf.inventory.layers"
local source_lines = require "pgaf.source_lines"
local suggest = require "pgaf.suggest"
local variables = require "pgaf.inventory.variables"
local yaml = require "pgafrun.yaml"
local yaml_file = require "pgaf.inventory.yaml_file"

local extra = {}

---@class pgaf.inventory.Extra
---@field key string
---@field value any
---@field file string "-e" or a file
---@field line integer
---@field typed? boolean it stood on the command line

local HINT = "-e key=value, -e @FILE, or -e '{\"key\": 1}'"

local function usage(message, cause)
  error.raise { kind = "usage", message = message, cause = cause, hint = HINT }
end

local function did_you_mean(word, candidates)
  local near = suggest(word, candidates)
  return near and (", did you mean %q?"):format(near) or ""
end

-- Numbers, true and false, lists and maps as YAML writes them; all else is text.
local function typed(text)
  local quoted = text:match('^"(.*)"$') or text:match("^'(.*)'$")
  if quoted then return quoted end
  local read, value = pcall(yaml.decode, text)
  if not read or value == nil or value == json.null then return text end
  if type(value) == "table" and not text:find("^%s*[%[{]") then return text end
  return value
end

local function from_words(text, list)
  local starts = {}
  for at in (" " .. text):gmatch("%s()[%w_.%-]+=") do starts[#starts + 1] = at - 1 end
  if starts[1] ~= 1 then usage(("-e %q is not key=value"):format(text)) end
  for i, at in ipairs(starts) do
    local word = text:sub(at, (starts[i + 1] or #text + 2) - 2):match("^(.-)%s*$")
    local key, value = word:match("^([^=]+)=(.*)$")
    list[#list + 1] = { key = key, value = typed(value), file = "-e", line = 0, typed = true }
  end
end

local function from_map(map, list, place)
  if not layers.is_map(map) then
    local file, line = place(nil)
    usage(("%s:%d: extra variables are a map: key: value"):format(file, line))
  end
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local file, line = place(key)
    list[#list + 1] = { key = key, value = map[key], file = file, line = line, typed = file == "-e" }
  end
end

local function from_file(path, list, keys)
  local found, text = pcall(fs.read, path)
  if not found then usage(("cannot read the extra variables %s"):format(path), text) end
  if path:find("%.lua$") then
    local chunk, message = load(text, "@" .. path, "t")
    if not chunk then error.raise { kind = "inventory", message = message } end
    local lines = source_lines.read(text)
    return from_map(chunk(), list, function(key) return path, source_lines.find(lines, key or "") or 1 end)
  end
  local file = yaml_file.parse(path, text, keys)
  return from_map(file.value or {}, list, function(key) return path, key and file:line(file.value, key) or 1 end)
end

---@param arguments string[] what was given with -e, in order
---@param keys? pgaf.vault.Keys
---@return pgaf.inventory.Extra[]
function extra.parse(arguments, keys)
  local list = {}
  for _, text in ipairs(arguments or {}) do
    if text:find("^@") then
      from_file(text:sub(2), list, keys)
    elseif text:find("^%s*[%[{]") then
      local read, value = pcall(yaml.decode, text)
      if not read then usage(("-e %s: %s"):format(text, value.message or value)) end
      from_map(value, list, function() return "-e", 0 end)
    else
      from_words(text, list)
    end
  end
  return list
end

local function set(node, path, value)
  local name, rest = path:match("^([^.]+)%.(.+)$")
  if not name then
    node[path] = layers.merge(node[path], value)
    return
  end
  if not layers.is_map(node[name]) then node[name] = {} end
  set(node[name], rest, value)
end

-- nodes.NAME.KEY: lists are replaced as a whole, so the layer holds all of it, with one value changed.
local function set_node(nodes, entry, report)
  local name, rest = entry.key:match("^nodes%.([^.]+)%.(.+)$")
  local names = {}
  for i, node in ipairs(nodes) do
    names[i] = layers.is_map(node) and tostring(node.name) or "?"
    if names[i] == name then
      nodes[i] = layers.merge(node, {})
      set(nodes[i], rest, entry.value)
      return ("nodes[%d].%s"):format(i, rest)
    end
  end
  report(entry.key, name and ("there is no data node %q%s"):format(name, did_you_mean(name, names)) or
    "of one node: nodes.NAME.KEY=value")
  return nil
end

-- What stood in the process list is no secret any more.
local SECRET = { ["application.password"] = true, monitor_password = true, replication_password = true }

local function layer_of(value, places)
  return {
    file = "-e", value = value,
    place = function(path)
      while path do
        if places[path] then return places[path].file, places[path].line end
        path = path:match("^(.*)[.%[][^.%[]*$")
      end
      return nil
    end,
  }
end

---Splits them: what are keys of the inventory becomes its topmost layer, the others are variables of all nodes.
---@param entries pgaf.inventory.Extra[]
---@param value table the inventory below
---@param known string[] the inventory's keys
---@param report pgaf.schema.Report
---@return pgaf.inventory.Layer? layer, pgaf.inventory.Source? source
function extra.apply(entries, value, known, report)
  local is_key, top, places, vars, var_places = {}, {}, {}, {}, {}
  for _, name in ipairs(known) do is_key[name] = true end
  for _, entry in ipairs(entries) do
    local first = entry.key:match("^[^.]+")
    places[entry.key] = { file = entry.file, line = entry.line }
    if entry.typed and SECRET[entry.key] then
      report(entry.key, "a secret on the command line is seen by all who may list processes: take it from a file, " ..
        "-e @FILE")
    elseif first == "nodes" and entry.key ~= "nodes" then
      top.nodes = top.nodes or table.move(value.nodes or {}, 1, #(value.nodes or {}), 1, {})
      local path = set_node(top.nodes, entry, report)
      if path then places[path] = places[entry.key] end
    elseif is_key[first] then
      set(top, entry.key, entry.value)
    elseif entry.key:find(".", 1, true) then
      report(entry.key, ("the inventory has no key %q%s"):format(first, did_you_mean(first, known)))
    else
      vars[entry.key], var_places[entry.key] = entry.value, entry
    end
  end
  local source = next(vars) and {
    from = "-e", rank = variables.EXTRA, vars = vars,
    place = function(name) return var_places[name].file, var_places[name].line end,
  } or nil
  return layer_of(top, places), source
end

return extra
