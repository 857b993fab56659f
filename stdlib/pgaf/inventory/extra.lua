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
local schema = require "pgaf.inventory_schema"
local secret = require "pgaf.secret"
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
---@field line_of? fun(node: table, key: any): integer of maps within the value
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
  local quoted = text:match('^"([^"]*)"$') or text:match("^'([^']*)'$")
  if quoted then return quoted end
  local read, value = pcall(yaml.decode, text)
  -- ".inf", or a digest such as 12e4567
  if type(value) == "number" and (value ~= value or math.abs(value) == math.huge) then return text end
  if not read or value == nil or value == json.null then return text end
  if type(value) == "table" and not text:find("^%s*[%[{]") then return text end
  return value
end

-- The text with what is in quotes blotted out, so that no key is seen in it. A quote within a word is an apostrophe.
local function blotted(text)
  local at = 1
  while true do
    local first = text:find("%f[^=%s{%[,:][\"']", at)
    if not first then return text end
    local quote, last = text:sub(first, first), first + 1
    while last <= #text and text:sub(last, last) ~= quote do
      last = last + (quote == '"' and text:sub(last, last) == "\\" and 2 or 1)
    end
    if last > #text then usage(("-e %s: a quote in it is not closed"):format(text:match("^[^=]*=") or "")) end
    text = text:sub(1, first) .. ("_"):rep(last - first - 1) .. text:sub(last)
    at = last + 1
  end
end

local function from_words(text, list)
  local starts = {}
  for at in (" " .. blotted(text)):gmatch("%s()[%w_.%-]+=") do starts[#starts + 1] = at - 1 end
  if starts[1] ~= 1 then usage(("-e %q is not key=value"):format(text)) end
  for i, at in ipairs(starts) do
    local word = text:sub(at, (starts[i + 1] or #text + 2) - 2):match("^(.-)%s*$")
    local key, value = word:match("^([^=]+)=(.*)$")
    list[#list + 1] = { key = key, value = typed(value), file = "-e", line = 0, typed = true }
  end
end

local function from_map(map, list, place, line_of)
  if not layers.is_map(map) then
    local file, line = place(nil)
    usage(("%s:%d: extra variables are a map: key: value"):format(file, line))
  end
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local file, line = place(key)
    list[#list + 1] = {
      key = key, value = map[key], file = file, line = line, line_of = line_of, typed = file == "-e",
    }
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
  return from_map(file.value or {}, list, function(key) return path, key and file:line(file.value, key) or 1 end,
    function(node, key) return file:line(node, key) end)
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

-- What stood in the process list is no secret any more.
local SECRET = {}
for _, path in ipairs(schema.secrets) do SECRET[path] = true end

local function segments(path)
  local list = {}
  for name in path:gmatch("[^.]+") do list[#list + 1] = name end
  return list
end

local function set(node, names, value)
  for i = 1, #names - 1 do
    if not layers.is_map(node[names[i]]) then node[names[i]] = {} end
    node = node[names[i]]
  end
  node[names[#names]] = value
end

-- A key of the inventory is not secret just because the other values of its file are.
local function unwrapped(value, path)
  if secret.is(value) then return not SECRET[path] and yaml_file.plain(value) or value end
  if type(value) ~= "table" then return value end
  local copy = setmetatable({}, getmetatable(value))
  for key, one in pairs(value) do copy[key] = unwrapped(one, path) end
  return copy
end

-- Each value of a map by itself, so that each has its own line.
local function put(layer, names, value, entry, line, prefix)
  local path = prefix .. table.concat(names, ".")
  if entry.typed and SECRET[path] then
    return layer.report(path, "a secret on the command line is seen by all who may list processes: take it from a " ..
      "file, -e @FILE", entry.file, entry.line)
  end
  if layers.is_map(value) and next(value) ~= nil and #names < 50 then
    for key, one in pairs(value) do
      local inner = table.move(names, 1, #names, 1, {})
      inner[#inner + 1] = tostring(key)
      put(layer, inner, one, entry, entry.line_of and entry.line_of(value, key) or line, prefix)
    end
    return
  end
  set(layer.top, names, unwrapped(value, path))
  layer.places[path] = { file = entry.file, line = line }
end

-- nodes.NAME.KEY: lists are replaced as a whole, so the layer holds all of it, with one value changed.
local function put_node(nodes, entry, places, report)
  local name, rest = entry.key:match("^nodes%.([^.]+)%.(.+)$")
  local names = {}
  for i, node in ipairs(nodes) do
    names[i] = layers.is_map(node) and tostring(node.name) or "?"
    if names[i] == name then
      nodes[i] = layers.merge(node, {})
      local names_of_rest = segments(rest)
      if #names_of_rest > 1 then nodes[i][names_of_rest[1]] = layers.merge(nodes[i][names_of_rest[1]] or {}, {}) end
      put({ top = nodes[i], places = places }, names_of_rest, entry.value, entry, entry.line, ("nodes[%d]."):format(i))
      return
    end
  end
  report(entry, name and ("there is no data node %q%s"):format(name, did_you_mean(name, names)) or
    "of one node: nodes.NAME.KEY=value")
end

local function layer_of(value, places)
  return {
    file = "-e", value = value,
    place = function(path)
      while path do
        if places[path] then return places[path].file, places[path].line end
        path = path:match("^(.*)[.%[][^.%[]*$")
      end
      return nil -- of a list that was copied: written below
    end,
  }
end

---Splits them: what are keys of the inventory becomes its topmost layer, the others are variables of all nodes.
---@param entries pgaf.inventory.Extra[]
---@param value table the inventory below
---@param known string[] the inventory's keys
---@param tell fun(path: string, message: string, file: string, line: integer)
---@return pgaf.inventory.Layer layer, pgaf.inventory.Source? source
function extra.apply(entries, value, known, tell)
  local is_key, vars, var_places = {}, {}, {}
  local layer = { top = {}, places = {}, report = tell }
  for _, name in ipairs(known) do is_key[name] = true end
  local function report(entry, message) tell(entry.key, message, entry.file, entry.line) end
  for _, entry in ipairs(entries) do
    local first = entry.key:match("^[^.]+") or ""
    if first == "nodes" and entry.key ~= "nodes" then
      local nodes = type(value.nodes) == "table" and value.nodes or {}
      layer.top.nodes = layer.top.nodes or table.move(nodes, 1, #nodes, 1, {})
      put_node(layer.top.nodes, entry, layer.places, report)
    elseif is_key[first] then
      put(layer, segments(entry.key), entry.value, entry, entry.line, "")
    elseif entry.key:find(".", 1, true) then
      report(entry, ("the inventory has no key %q%s"):format(first, did_you_mean(first, known)))
    else
      vars[entry.key], var_places[entry.key] = entry.value, entry
    end
  end
  local source = next(vars) and {
    from = "-e", rank = variables.EXTRA, vars = vars,
    place = function(name) return var_places[name].file, var_places[name].line end,
  } or nil
  return layer_of(layer.top, layer.places), source
end

return extra
