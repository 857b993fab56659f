-- The hosts and groups of an Ansible inventory, in YAML or INI.

local json = require "pgafrun.json"
local layers = require "pgaf.inventory.layers"
local yaml = require "pgafrun.yaml"

local hosts = {}

---@class pgaf.ansible.Value
---@field value any
---@field file string
---@field line integer

---@class pgaf.ansible.Group
---@field hosts string[]
---@field children string[]
---@field priority integer?
---@field vars table<string, pgaf.ansible.Value>
---@field file string
---@field line integer

---@class pgaf.ansible.Hosts
---@field names string[] in the order in which they were first written
---@field places table<string, { file: string, line: integer }> of hosts
---@field groups table<string, pgaf.ansible.Group>
---@field vars table<string, table<string, pgaf.ansible.Value>> of hosts
---@field report fun(file: string, line: integer, message: string, is_unread?: boolean) a mistake
---@field note fun(kind: string, file: string, line: integer, message: string)
local Hosts = {}
Hosts.__index = Hosts

local MAX_HOSTS = 10000

---@return pgaf.ansible.Hosts
function hosts.new(report, note)
  local self = setmetatable({
    names = {}, places = {}, groups = {}, vars = {}, report = report, note = note,
  }, Hosts)
  return self
end

local function group_of(self, name, file, line)
  local group = self.groups[name]
  if not group then
    group = { hosts = {}, children = {}, vars = {}, file = file, line = line }
    self.groups[name] = group
  end
  return group
end

-- List -> what is in it.
local members = setmetatable({}, { __mode = "k" })

local function add_to(list, name)
  members[list] = members[list] or {}
  if members[list][name] then return end
  list[#list + 1], members[list][name] = name, true
end

local function set_group_var(group, name, value, file, line)
  if name == "ansible_group_priority" and math.tointeger(value) then
    group.priority = math.tointeger(value)
  else
    group.vars[name] = { value = value, file = file, line = line }
  end
end

-- "node[1:3]", "node[01:10:2]", "node-[a:c]" -> all names.
local function expand(pattern)
  local before, range, after = pattern:match("^(.-)%[([^%]]*)%](.*)$")
  if not before then
    if pattern:find("[%[%]]") then return nil, "a bracket is not closed" end
    return { pattern }
  end
  local first, last, step = range:match("^(%w+):(%w+):?(%d*)$")
  if not first then return nil, "a range is [1:3], [01:10:2] or [a:c]" end
  local is_number = first:find("^%d+$") and last:find("^%d+$")
  if not is_number and (#first ~= 1 or #last ~= 1) then return nil, "a range is of numbers or of single letters" end
  local from, to = tonumber(first, 10) or first:byte(), tonumber(last, 10) or last:byte()
  step = tonumber(step) or 1
  if step < 1 or to < from or (to - from) // step >= MAX_HOSTS then return nil, "the range is empty or too long" end
  local tails, message = expand(after)
  if not tails then return nil, message end
  local names = {}
  for i = from, to, step do
    local middle = is_number and (#first > 1 and first:find("^0") and ("%0" .. #first .. "d") or "%d"):format(i) or
      string.char(i)
    for _, tail in ipairs(tails) do
      if #names >= MAX_HOSTS then return nil, "more than 10000 hosts" end
      names[#names + 1] = before .. middle .. tail
    end
  end
  return names
end

local function add_hosts(self, group, pattern, file, line)
  local name, port = pattern:match("^([^:%[%]]+):(%d+)$")
  local names, message = expand(name or pattern)
  if not names then
    self.report(file, line, ("the hosts %q: %s"):format(pattern, message))
    return {}
  end
  for _, one in ipairs(names) do
    if not self.places[one] then
      self.names[#self.names + 1], self.places[one], self.vars[one] = one, { file = file, line = line }, {}
    end
    add_to(group.hosts, one)
    if port then self.vars[one].ansible_port = { value = tonumber(port), file = file, line = line } end
  end
  return names
end

-- --- YAML ---

local function is_map(value) return layers.is_map(value) end
local function is_nothing(value) return value == nil or value == json.null end

local function yaml_hosts(self, yaml_file, group, node, line)
  local file = yaml_file.path
  if type(node) == "string" then
    add_hosts(self, group, node, file, line)
    return
  end
  if not is_map(node) then
    self.report(file, line, "hosts is a map, each host a key with a colon: \"pgaf-1:\"")
    return
  end
  for _, pattern in ipairs(yaml_file:keys(node)) do
    local at, vars = yaml_file:line(node, pattern), node[pattern]
    local names = add_hosts(self, group, tostring(pattern), file, at)
    if is_map(vars) then
      for name, value in pairs(vars) do
        for _, host in ipairs(names) do
          self.vars[host][tostring(name)] = { value = value, file = file, line = yaml_file:line(vars, name) }
        end
      end
    elseif not is_nothing(vars) then
      self.report(file, at, ("the variables of %s are a map: name: value"):format(pattern))
    end
  end
end

local yaml_group

local function yaml_children(self, yaml_file, group, node, line, depth)
  if not is_map(node) then
    self.report(yaml_file.path, line, "children is a map, each group a key with a colon")
    return
  end
  for _, name in ipairs(yaml_file:keys(node)) do
    add_to(group.children, tostring(name))
    yaml_group(self, yaml_file, tostring(name), node[name], yaml_file:line(node, name), depth + 1)
  end
end

function yaml_group(self, yaml_file, name, node, line, depth)
  local file = yaml_file.path
  local group = group_of(self, name, file, line)
  if is_nothing(node) then return end
  if not is_map(node) then
    self.report(file, line, ("the group %q is a map with hosts, children and vars"):format(name))
    return
  end
  for _, key in ipairs(yaml_file:keys(node)) do
    local at, value = yaml_file:line(node, key), node[key]
    if is_nothing(value) then
      goto continue
    elseif key == "hosts" then
      yaml_hosts(self, yaml_file, group, value, at)
    elseif key == "children" then
      yaml_children(self, yaml_file, group, value, at, depth)
    elseif key == "vars" and is_map(value) then
      for variable, one in pairs(value) do
        set_group_var(group, tostring(variable), one, file, yaml_file:line(value, variable))
      end
    elseif key == "vars" then
      self.report(file, at, ("the variables of the group %q are a map: name: value"):format(name))
    else
      self.note("unmapped", file, at, ("%q in the group %q: a group has hosts, children and vars"):format(
        tostring(key), name))
    end
    ::continue::
  end
end

---@param yaml_file pgaf.inventory.YamlFile
function Hosts:read_yaml(yaml_file)
  local value = yaml_file.value
  if not is_map(value) or next(value) == nil then
    self.report(yaml_file.path, 1, "an Ansible inventory is a map of groups: all: { hosts: ... }")
    return
  end
  for _, name in ipairs(yaml_file:keys(value)) do
    yaml_group(self, yaml_file, tostring(name), value[name], yaml_file:line(value, name), 0)
  end
end

-- --- INI ---

-- As Ansible: numbers, True, False, None, quoted texts, lists and maps; all else is text.
local function literal(text)
  if text == "True" or text == "true" then return true end
  if text == "False" or text == "false" then return false end
  if text == "None" then return json.null end
  local quoted = text:match('^"(.*)"$') or text:match("^'(.*)'$")
  if quoted then return quoted end
  if text:find("^[%[{]") then
    local read, value = pcall(yaml.decode, text)
    if read and value ~= nil then return value end
  end
  local is_number = text:find("^[-+]?%d+$") or text:find("^[-+]?%d+%.%d+$")
  return is_number and tonumber(text) or text
end

-- key=value words, where a value may have quotes around what has blanks in it; a remark begins anywhere.
local function words(text)
  local list, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at or text:find("^#", at) then return list end
    local word, quote = {}, nil
    while at <= #text do
      local c = text:sub(at, at)
      if not quote and c:find("[%s#]") then break end
      if c == quote then
        quote = nil
      elseif not quote and (c == '"' or c == "'") then
        quote = c
      end
      word[#word + 1], at = c, at + 1
    end
    list[#list + 1] = table.concat(word)
  end
end

local function ini_host(self, group, text, file, line)
  local list = words(text)
  local names = add_hosts(self, group, list[1], file, line)
  for i = 2, #list do
    local name, value = list[i]:match("^([^=]+)=(.*)$")
    if not name then
      self.report(file, line, ("%q is not key=value"):format(list[i]))
    else
      for _, host in ipairs(names) do self.vars[host][name] = { value = literal(value), file = file, line = line } end
    end
  end
end

---@param file string
---@param text string
function Hosts:read_ini(file, text)
  local section, kind = "ungrouped", ""
  local line = 0
  for content in (text .. "\n"):gmatch("(.-)\r?\n") do
    line = line + 1
    local trimmed = content:match("^%s*(.-)%s*$")
    if trimmed == "" or trimmed:find("^[#;]") then goto continue end
    local name, of = trimmed:match("^%[([^%]:]+):?([^%]]*)%]%s*[#;]?.*$")
    if name then
      section, kind = name, of
      group_of(self, section, file, line)
      if kind ~= "" and kind ~= "vars" and kind ~= "children" and kind ~= "hosts" then
        self.report(file, line, ("[%s:%s]: a section is [GROUP], [GROUP:children] or [GROUP:vars]"):format(name, of))
      end
    elseif trimmed:find("^%[[^%]]*$") then
      self.report(file, line, ("the section %q: a bracket is not closed"):format(trimmed), true)
      kind = "unknown" -- nobody knows whose the lines below it are
    elseif kind == "vars" then
      local variable, value = trimmed:match("^([^=%s]+)%s*=%s*(.*)$")
      if variable then
        set_group_var(group_of(self, section, file, line), variable, literal(value), file, line)
      else
        self.report(file, line, ("%q is not key=value"):format(trimmed))
      end
    elseif kind == "children" then
      local child = words(trimmed)[1]
      group_of(self, child, file, line)
      add_to(group_of(self, section, file, line).children, child)
    elseif kind == "" or kind == "hosts" then
      ini_host(self, group_of(self, section, file, line), trimmed, file, line)
    end
    ::continue::
  end
end

return hosts
