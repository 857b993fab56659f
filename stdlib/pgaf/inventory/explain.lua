-- What each node of an inventory ends up with, and where each value came from. Secrets are masked.

local json = require "pgafrun.json"
local layers = require "pgaf.inventory.layers"
local mask = require "pgafrun.mask"
local secret = require "pgaf.secret"
local sorted_keys = require "pgaf.sorted_keys"

local explain = {}

local SHOWN = "<secret>"
-- As YAML writes what JSON has no number for.
local NO_NUMBERS = { inf = ".inf", ["-inf"] = "-.inf", nan = ".nan" }
local SECRET_WORDS = { "password", "passwd", "passphrase", "secret", "token", "private_key", "apikey", "api_key" }

-- Inventory -> how it came about.
local details = setmetatable({}, { __mode = "k" })

---@param result pgaf.Inventory
---@param detail { layered: pgaf.inventory.Layered, groups: pgaf.inventory.Groups, resolved: table, origins: table }
function explain.keep(result, detail) details[result] = detail end

---The files that it was made from.
---@param result pgaf.Inventory
---@return pgaf.inventory.Layered
function explain.layered(result) return details[result].layered end

---"file:line"; what has no line is the command line.
---@param file string
---@param line integer?
---@return string
function explain.place(file, line)
  if not line or line == 0 then return file end
  return ("%s:%d"):format(file, line)
end

local function is_secret_name(name)
  name = tostring(name):lower()
  for _, word in ipairs(SECRET_WORDS) do
    if name:find(word, 1, true) then return true end
  end
  return false
end

-- A copy that may be shown: what is a secret, or is called like one, is masked. An alias of YAML is one table in many
-- places, and a circle is possible in Lua.
local function shown(value, name, way)
  if secret.is(value) then return SHOWN end
  if type(value) == "string" then
    if not is_secret_name(name) then return mask.apply(value) end
    mask.add(value)
    return SHOWN
  end
  if type(value) == "number" then return NO_NUMBERS[tostring(value):gsub("^%-nan", "nan")] or value end
  if type(value) == "function" or type(value) == "userdata" and value ~= json.null then return tostring(value) end
  if type(value) ~= "table" then return value end
  if way[value] or way.depth > 50 then return "..." end
  way[value], way.depth = true, way.depth + 1
  local copy = getmetatable(value) == json.array and json.as_array() or {}
  local is_list = not layers.is_map(value) or #value > 0
  for key, one in pairs(value) do
    if is_list and not math.type(key) then is_list = false end
  end
  for key, one in pairs(value) do
    copy[is_list and key or tostring(key)] = shown(one, is_list and name or key, way)
  end
  way[value], way.depth = nil, way.depth - 1
  return copy
end

---A copy of a value with its secrets masked.
---@param value any
---@param name? string what is called like a secret is one
---@return any
function explain.masked(value, name) return shown(value, name or "", { depth = 0 }) end

---@class pgaf.inventory.Shown
---@field key string
---@field value any masked
---@field from string "FILE:LINE", "group X (FILE:LINE)", "default"

---The path of the group that lent a node's value; nil when it is the node's own.
---@param origins table<string, string> of a node's keys
---@param path string of the value, or within it
---@return string?
function explain.lent(origins, path)
  local rest = ""
  while path do
    if origins[path] then return origins[path] .. rest end
    local last = path:match("[.%[][^.%[]*$")
    path, rest = last and path:sub(1, -#last - 1), (last or "") .. rest
  end
  return nil
end

local function origin(detail, path)
  local via = explain.lent(detail.origins, path)
  local group = via and via:match("^groups%.([^.]+)%.")
  local real = via or path
  if layers.at(detail.layered.value, real) == nil then return "default" end
  local place = explain.place(detail.layered:place(real))
  return group and ("group %s (%s)"):format(group, place) or place
end

-- Leaves of maps, each with its own origin; lists are leaves.
local function leaves(detail, value, path, list)
  if layers.is_map(value) and next(value) ~= nil then
    for _, key in ipairs(sorted_keys(value)) do
      leaves(detail, value[key], path == "" and tostring(key) or path .. "." .. tostring(key), list)
    end
    return list
  end
  list[#list + 1] = { key = path, value = explain.masked(value, path), from = origin(detail, path) }
  return list
end

local FORMATION = {
  "environment", "formation", "domain", "provider", "postgres", "formation_settings", "timers", "application",
  "operator_networks", "monitor_password", "replication_password",
}

---What the formation as a whole has.
---@param result pgaf.Inventory
---@return pgaf.inventory.Shown[]
function explain.formation(result)
  local list = {}
  for _, key in ipairs(FORMATION) do
    if result[key] ~= nil then leaves(details[result], result[key], key, list) end
  end
  return list
end

local function described(place)
  local where = explain.place(place.file, place.line)
  return place.from == where and where or ("%s (%s)"):format(place.from, where)
end

---@param result pgaf.Inventory
---@param name string a node's
---@return { name: string, role: "monitor"|"data", groups: string[], keys: pgaf.inventory.Shown[], vars: table[] }? host
function explain.host(result, name)
  local detail = details[result]
  local path = detail.groups.paths[name]
  if not path then return nil end
  local entry = layers.at(result, path)
  local host = {
    name = name, role = path == "monitor" and "monitor" or "data", groups = detail.groups:of(name),
    keys = {}, vars = {},
  }
  for _, key in ipairs(sorted_keys(entry)) do
    if key ~= "vars" and key ~= "groups" then
      local found = leaves(detail, entry[key], path .. "." .. key, {})
      for _, one in ipairs(found) do
        one.key = one.key:sub(#path + 2)
        host.keys[#host.keys + 1] = one
      end
    end
  end
  for _, variable in ipairs(sorted_keys(detail.resolved[name])) do
    local one = detail.resolved[name][variable]
    local overridden = {}
    for i, place in ipairs(one.overridden) do overridden[i] = described(place) end
    host.vars[#host.vars + 1] = {
      key = variable, value = explain.masked(one.value, variable), from = described(one.place), overrides = overridden,
    }
  end
  return host
end

-- What a group in many groups would draw again and again is drawn once more at most.
local TREE_LINES = 10000

---The groups as a tree of lines, as ansible-inventory --graph draws them.
---@param result pgaf.Inventory
---@return string[]
function explain.graph(result)
  local found, lines, has_parent, drawn = details[result].groups, {}, {}, {}
  for name, group in pairs(found.by_name) do
    for _, child in ipairs(group.children) do
      if name ~= "all" then has_parent[child] = true end
    end
  end
  local function draw(name, indent)
    local group = found.by_name[name]
    if drawn[name] and #lines > TREE_LINES then
      lines[#lines + 1] = indent .. "@" .. name .. ": as above"
      return
    end
    drawn[name] = true
    lines[#lines + 1] = indent .. "@" .. name .. ":"
    local inner = indent == "" and "  |--" or "  |" .. indent
    local children = table.move(group.children, 1, #group.children, 1, {})
    if name == "all" then children = {} end
    for other in pairs(found.by_name) do
      if name == "all" and other ~= "all" and not has_parent[other] then children[#children + 1] = other end
    end
    table.sort(children)
    for _, child in ipairs(children) do draw(child, inner) end
    for _, host in ipairs(found.hosts) do
      if group.hosts[host] then lines[#lines + 1] = inner .. host end
    end
  end
  draw("all", "")
  return lines
end

---The files it was read from, the lowest first.
---@param result pgaf.Inventory
---@return string[]
function explain.files(result)
  local files = {}
  for i, layer in ipairs(details[result].layered.layers) do files[i] = layer.file end
  return files
end

---All of it, for programs.
---@param result pgaf.Inventory
---@return table
function explain.all(result)
  local detail = details[result]
  local hosts = {}
  for _, name in ipairs(detail.groups.hosts) do
    local host = explain.host(result, name)
    local keys, vars = {}, {}
    for _, one in ipairs(host.keys) do keys[one.key] = { value = one.value, from = one.from } end
    for _, one in ipairs(host.vars) do
      vars[one.key] = { value = one.value, from = one.from, overrides = json.as_array(one.overrides) }
    end
    hosts[name] = { role = host.role, groups = json.as_array(host.groups), keys = keys, vars = vars }
  end
  local formation, names = {}, {}
  for _, one in ipairs(explain.formation(result)) do formation[one.key] = { value = one.value, from = one.from } end
  for name, members in pairs(result.groups) do names[name] = json.as_array(table.move(members, 1, #members, 1, {})) end
  return {
    files = json.as_array(explain.files(result)), formation = formation, groups = names, hosts = hosts,
    notes = json.as_array(table.move(result.notes, 1, #result.notes, 1, {})),
  }
end

return explain
