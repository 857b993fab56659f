-- From Ansible's hosts, groups and variables to an inventory's table. What has no place in it is listed.

local convert = require "pgaf.inventory.ansible.convert"
local json = require "pgafrun.json"
local names = require "pgaf.inventory.ansible.names"
local secret = require "pgaf.secret"
local suggest = require "pgaf.suggest"

local mapping = {}

---@class pgaf.ansible.Model
---@field file string
---@field hosts pgaf.ansible.Hosts
---@field groups pgaf.inventory.Groups
---@field resolved table<string, table<string, pgaf.inventory.Resolved>>
---@field used table<string, boolean> variables that others refer to
---@field map? table<string, string> the user's own: variable -> key
---@field note fun(kind: string, file: string, line: integer, message: string)
---@field problem fun(file: string, line: integer, message: string)

---@class pgaf.ansible.Mapped
---@field value table
---@field places table<string, { file: string, line: integer }>
---@field variables table<string, string> path -> the variable it came from

local function any_matches(patterns, text)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern) then return true end
  end
  return false
end

local function place_of(model, host) return model.hosts.places[host] or { file = model.file, line = 1 } end

-- --- who is what ---

local function role_by_variable(model, host)
  for _, name in ipairs(names.ROLE) do
    local one = model.resolved[host][name]
    if one and type(one.value) == "string" then
      model.used[name] = true
      local word = one.value:lower()
      return word == "monitor" and "monitor" or word == "primary" and "primary" or "data"
    end
  end
  return nil
end

local function role_of(model, host)
  local by_variable = role_by_variable(model, host)
  if by_variable then return by_variable end
  local role
  for _, group in ipairs(model.groups:of(host)) do
    if any_matches(names.MONITOR, group) then return "monitor" end
    if any_matches(names.PRIMARY, group) then
      role = "primary"
    elseif any_matches(names.DATA, group) then
      role = role or "data"
    end
  end
  return role
end

-- The first of them that is defined; one of the command line comes before all of files.
local function variable(model, host, list)
  local found, found_name
  for _, name in ipairs(list) do
    local one = model.resolved[host][name]
    if one and (not found or (one.place.from == "-e" and found.place.from ~= "-e")) then
      found, found_name = one, name
    end
  end
  return found, found_name
end

-- "pgaf-monitor.lxd" names the host "pgaf-monitor", and the other way round.
local function monitor_by_variable(model)
  for _, host in ipairs(model.hosts.names) do
    local one, name = variable(model, host, names.MONITOR_HOST)
    if one and type(one.value) == "string" then
      model.used[name] = true
      for _, other in ipairs(model.hosts.names) do
        if other == one.value or other:match("^[^.]+") == one.value:match("^[^.]+") then return other end
      end
      model.note("unmapped", one.place.file, one.place.line, ("%s is %q, which is no host of the inventory"):format(
        name, one.value))
    end
  end
  return nil
end

local function is_self(model, host)
  local one = model.resolved[host].ansible_connection
  return host == "localhost" or (one ~= nil and one.value == "local")
end

local function find_roles(model)
  local monitors, primaries, data, others = {}, {}, {}, {}
  for _, host in ipairs(model.hosts.names) do
    local role = role_of(model, host)
    local list = role == "monitor" and monitors or role == "primary" and primaries or role == "data" and data or others
    list[#list + 1] = host
  end
  local named = monitor_by_variable(model)
  if #monitors == 0 and named then
    monitors[1] = named
    for _, list in ipairs { primaries, data, others } do
      for i = #list, 1, -1 do
        if list[i] == named then table.remove(list, i) end
      end
    end
  end
  for _, host in ipairs(others) do
    local place = place_of(model, host)
    if is_self(model, host) then
      model.note("needless", place.file, place.line, ("the host %s: what runs here needs no host"):format(host))
    else
      model.note("unmapped", place.file, place.line, ("the host %s is in no group that says what it is (monitor, " ..
        "primary, replicas, nodes, data): it is left out"):format(host))
    end
  end
  if #monitors ~= 1 then
    model.problem(model.file, 1, #monitors == 0 and "there is no monitor: the group \"monitor\" has it" or
      ("there are %d monitors (%s), and a formation has one"):format(#monitors, table.concat(monitors, ", ")))
  end
  table.move(data, 1, #data, #primaries + 1, primaries)
  return monitors[1], primaries
end

-- --- values ---

local function same(a, b, depth)
  if a == b or depth > 50 then return true end
  if type(a) ~= "table" or type(b) ~= "table" or secret.is(a) or secret.is(b) then return false end
  for key, value in pairs(a) do
    if not same(value, b[key], depth + 1) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function put(mapped, path, value, place, name)
  local node = mapped.value
  local at = path
  while true do
    local first, index, rest = at:match("^([^.%[]+)(%[?%d*%]?)%.(.+)$")
    if not first then break end
    node[first] = node[first] or {}
    node = node[first]
    if index ~= "" then node = node[tonumber(index:match("%d+"))] end
    at = rest
  end
  node[at] = value
  mapped.places[path] = { file = place.file, line = place.line }
  mapped.variables[path] = name
end

local function put_converted(mapped, path, kind, one, name)
  if kind == "secret" and one.place.file == "-e" and not secret.is(one.value) then
    mapped.problem("-e", 0, ("%s: a secret on the command line is seen by all who may list processes: take it from " ..
      "a file, -e @FILE"):format(name))
  end
  local value, own = convert.to(kind, one.value)
  put(mapped, path, value, one.place, name)
  for setting, setting_value in pairs(own or {}) do
    local own_path = "postgres." .. setting
    if not mapped.places[own_path] then put(mapped, own_path, setting_value, one.place, name) end
  end
end

-- One value for the formation, though hosts have variables of their own.
local function map_formation(model, mapped, entry, hosts)
  local chosen, chosen_name, chosen_host
  for _, host in ipairs(hosts) do
    local one, name = variable(model, host, entry.names)
    if one and one.value ~= json.null then
      model.used[name] = true
      if not chosen then
        chosen, chosen_name, chosen_host = one, name, host
      elseif name == chosen_name and one.place.line ~= chosen.place.line and not same(one.value, chosen.value, 0) then
        model.problem(one.place.file, one.place.line, ("%s differs between %s and %s (%s:%d), and %s is one for the " ..
          "formation"):format(name, host, chosen_host, chosen.place.file, chosen.place.line, entry.key))
      end
    end
  end
  if chosen then put_converted(mapped, entry.key, entry.kind, chosen, chosen_name) end
end

local function map_node(model, mapped, entry, host, path)
  local one, name = variable(model, host, entry.names)
  if not one or one.value == json.null then return end
  model.used[name] = true
  put_converted(mapped, path .. "." .. entry.key, entry.kind, one, name)
end

local function entries_of(model)
  local list = {}
  for variable_name, key in pairs(model.map or {}) do
    local scope, rest = "formation", key
    if key:find("^node%.") then scope, rest = "data", key:sub(6) end
    if key:find("^monitor%.") then scope, rest = "monitor", key:sub(9) end
    local kind
    for _, known in ipairs(names.KEYS) do
      if known[1] == rest then kind = known[3] end
    end
    list[#list + 1] = { key = rest, scope = scope, kind = kind or "map", names = { variable_name } }
  end
  table.sort(list, function(a, b) return a.key < b.key end)
  for _, known in ipairs(names.KEYS) do
    local words = {}
    for word in known[4]:gmatch("%S+") do words[#words + 1] = word end
    list[#list + 1] = { key = known[1], scope = known[2], kind = known[3], names = words }
  end
  return list
end

-- Limits as Incus' own configuration has them.
local function map_incus_config(model, mapped, host, path)
  local one, name = variable(model, host, { "incus_config", "pgaf_incus_config", "lxd_config" })
  if not one or type(one.value) ~= "table" then return end
  model.used[name] = true
  for key, value in pairs(one.value) do
    local limit = type(key) == "string" and key:match("^limits%.(%a+)$")
    if limit == "cpu" or limit == "memory" then
      local at = path .. ".limits." .. limit
      if not mapped.places[at] then put_converted(mapped, at, limit == "cpu" and "cpu" or "text",
        { value = value, place = one.place }, name) end
    else
      model.note("unmapped", one.place.file, one.place.line, ("%s: %q has no key here; a profile in Incus can have it")
        :format(name, tostring(key)))
    end
  end
end

-- --- names of nodes ---

-- Ansible's name may be the whole host name, and with Incus' connection ansible_host is the instance's.
local function short_names(model, mapped, hosts)
  local short, domain = {}, nil
  for _, host in ipairs(hosts) do
    local connection, alias = model.resolved[host].ansible_connection, model.resolved[host].ansible_host
    local name = host
    if connection and alias and type(alias.value) == "string" and tostring(connection.value):find("incus") and
      not alias.value:find("^%d+%.%d+%.%d+%.%d+$") then
      name = alias.value
    end
    local first, rest = name:match("^([^.]+)%.(.+)$")
    short[host] = first or name
    domain = rest or domain
  end
  if domain and not mapped.places.domain then
    put(mapped, "domain", domain, place_of(model, hosts[1]), nil)
  end
  return short
end

local function add_members(model, mapped, monitor, data)
  local all = monitor and { monitor, table.unpack(data) } or data
  local short = short_names(model, mapped, all)
  mapped.value.monitor, mapped.value.nodes = monitor and {} or nil, json.as_array()
  mapped.places.nodes = { file = model.file, line = 1 }
  if monitor then
    mapped.places.monitor = place_of(model, monitor)
    put(mapped, "monitor.name", short[monitor], place_of(model, monitor), nil)
  end
  for i, host in ipairs(data) do
    local path = ("nodes[%d]"):format(i)
    mapped.value.nodes[i] = {}
    mapped.places[path] = place_of(model, host)
    put(mapped, path .. ".name", short[host], place_of(model, host), nil)
  end
  return short
end

-- All nodes with one image: the provider's.
local function lift(mapped, key, path)
  local nodes = { table.unpack(mapped.value.nodes) }
  nodes[#nodes + 1] = mapped.value.monitor
  local first = nodes[1] and nodes[1][key]
  for _, node in ipairs(nodes) do
    if node[key] == nil or node[key] ~= first then return end
  end
  local from = mapped.places["monitor." .. key] or mapped.places["nodes[1]." .. key]
  put(mapped, path, first, from, nil)
  for _, node in ipairs(nodes) do node[key] = nil end
end

-- --- groups and what is left ---

local RESERVED = { all = true, ungrouped = true, monitor = true, data = true, quorum = true }

-- monitor and data are what hosts are, whatever a group of the name holds.
local function note_other_members(model, name, members)
  local declared = model.hosts.groups[name]
  if not declared then return end
  local set, is_same, is_member = model.groups:set(name), true, {}
  for _, host in ipairs(members) do
    is_same, is_member[host] = is_same and set[host] == true, true
  end
  for host in pairs(set) do is_same = is_same and is_member[host] == true end
  if not is_same then
    model.note("unmapped", declared.file, declared.line, ("the group %q has other hosts here: %s"):format(name,
      table.concat(members, ", ")))
  end
end

local function add_groups(model, mapped, short)
  local groups = {}
  for name, group in pairs(model.groups.by_name) do
    local hosts, children = json.as_array(), json.as_array()
    for _, host in ipairs(model.hosts.names) do
      if group.hosts[host] and short[host] then hosts[#hosts + 1] = short[host] end
    end
    for _, child in ipairs(group.children) do
      if child ~= "ungrouped" then children[#children + 1] = child end
    end
    if not RESERVED[name] then
      groups[name] = { hosts = hosts, children = children, priority = group.priority }
      local declared = model.hosts.groups[name]
      mapped.places["groups." .. name] = declared and { file = declared.file, line = declared.line }
    end
  end
  mapped.value.groups = groups
end

local known, key_of = {}, {}
for _, entry in ipairs(names.KEYS) do
  for name in entry[4]:gmatch("%S+") do
    known[#known + 1] = name
    key_of[name] = key_of[name] or entry[1]
  end
end

local function did_you_mean(word)
  local near = suggest(word, known)
  return near and (", did you mean %q?"):format(near) or ""
end

local function note_variable(model, name, place)
  local function note(kind, message) model.note(kind, place.file, place.line, message) end
  for _, needless in ipairs(names.NEEDLESS) do
    if name:find(needless[1]) then return note("needless", ("%s: %s"):format(name, needless[2])) end
  end
  if key_of[name] then
    return note("unmapped", ("%s is not read: another variable stands for %s already"):format(name, key_of[name]))
  end
  if not any_matches(names.OURS, name) then return note("kept", name) end
  return note("unmapped", ("%s stands for no key of an inventory%s; it is kept as a variable"):format(name,
    did_you_mean(name)))
end

local function note_left_over(model)
  local told = {}
  for _, host in ipairs(model.hosts.names) do
    for name, one in pairs(model.resolved[host]) do
      local key = ("%s %s:%d"):format(name, one.place.file, one.place.line)
      local is_new = not told[key] and not model.used[name] and one.place.from ~= "-e"
      if is_new then note_variable(model, name, one.place) end
      told[key] = true
    end
  end
end

local function guess_environment(model)
  local base = (model.file:match("([^/]+)/*$") or ""):lower()
  for word in base:gmatch("%w+") do
    local environment = convert.to("environment", word)
    if environment == "lab" or environment == "staging" or environment == "production" then return environment end
  end
  return nil
end

---@param model pgaf.ansible.Model
---@return pgaf.ansible.Mapped mapped, table<string, string> short a host's name here; hosts that are no nodes have none
function mapping.apply(model)
  local mapped = { value = { provider = {}, application = {} }, places = {}, variables = {}, problem = model.problem }
  local monitor, data = find_roles(model)
  local hosts = monitor and { monitor, table.unpack(data) } or data
  local by_scope = { each = hosts, data = data, monitor = { monitor } }
  local paths = {}
  if monitor then paths[monitor] = "monitor" end
  for i, host in ipairs(data) do paths[host] = ("nodes[%d]"):format(i) end
  local short = add_members(model, mapped, monitor, data)
  for _, entry in ipairs(entries_of(model)) do
    if entry.scope == "formation" then
      if not mapped.places[entry.key] or not mapped.variables[entry.key] then
        map_formation(model, mapped, entry, hosts)
      end
    else
      for _, host in ipairs(by_scope[entry.scope]) do
        if not mapped.places[paths[host] .. "." .. entry.key] then
          map_node(model, mapped, entry, host, paths[host])
        end
      end
    end
  end
  for _, host in ipairs(hosts) do map_incus_config(model, mapped, host, paths[host]) end
  if #hosts > 0 then
    lift(mapped, "image", "provider.image")
    lift(mapped, "target", "provider.target")
  end
  local here = { file = model.file, line = 1 }
  if not mapped.value.provider.kind then put(mapped, "provider.kind", "incus", here, nil) end
  local environment = guess_environment(model)
  if not mapped.value.environment and environment then put(mapped, "environment", environment, here, nil) end
  note_other_members(model, "monitor", { monitor })
  note_other_members(model, "data", data)
  add_groups(model, mapped, short)
  note_left_over(model)
  return mapped, short
end

return mapping
