-- Groups of nodes: `all`, `monitor` and `data` are there by themselves, others are declared with hosts and children.

local layers = require "pgaf.inventory.layers"
local suggest = require "pgaf.suggest"

local groups = {}

---@class pgaf.inventory.Group
---@field name string
---@field depth integer 0 for all, 1 below it, more for groups of groups (the longest way counts)
---@field priority integer
---@field hosts table<string, boolean> its own
---@field children string[]
---@field vars table<string, any>
---@field node table<string, any> keys of its nodes, where they do not have their own

---@class pgaf.inventory.Groups
---@field hosts string[] all nodes, the monitor first
---@field paths table<string, string> a node's path in the inventory: "nodes[2]"
---@field by_name table<string, pgaf.inventory.Group>
---@field sets table<string, table<string, boolean>> as far as they were asked for
local Groups = {}
Groups.__index = Groups

local IMPLICIT = { all = "all nodes", monitor = "the monitor", data = "the data nodes" }

local function map_of(value) return layers.is_map(value) and value or {} end
local function list_of(value) return type(value) == "table" and not layers.is_map(value) and value or {} end

local function did_you_mean(word, candidates)
  local near = suggest(word, candidates)
  return near and (", did you mean %q?"):format(near) or ""
end

local function add_host(self, entry, path, role)
  local name = map_of(entry).name
  if type(name) ~= "string" or self.paths[name] then return end
  self.hosts[#self.hosts + 1], self.paths[name] = name, path
  self.by_name[role].hosts[name] = true
end

local function new_group(name, declared)
  declared = map_of(declared)
  return {
    name = name, depth = 1, priority = math.tointeger(declared.priority) or 1, hosts = {}, children = {},
    vars = map_of(declared.vars), node = map_of(declared.node),
  }
end

local function sorted_names(map)
  local names = {}
  for name in pairs(map) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function read_members(self, group, declared, report)
  local path = "groups." .. group.name
  for i, host in ipairs(list_of(declared.hosts)) do
    if type(host) == "string" and not self.paths[host] then
      report(("%s.hosts[%d]"):format(path, i), ("there is no node %q%s"):format(host, did_you_mean(host, self.hosts)))
    end
    group.hosts[host] = true
  end
  for i, child in ipairs(list_of(declared.children)) do
    if not self.by_name[child] then
      report(("%s.children[%d]"):format(path, i), ("there is no group %q%s"):format(tostring(child),
        did_you_mean(tostring(child), sorted_names(self.by_name))))
    elseif child == "all" then
      report(("%s.children[%d]"):format(path, i), "\"all\" is above every group")
    else
      group.children[#group.children + 1] = child
    end
  end
end

-- Longest way from the top; each group is walked once. A way back to a group that is still being walked is told, and
-- cut.
local function find_depths(self, report)
  local state, order, way = {}, {}, {} -- state: "open" while it is being walked, then "done"
  local function walk(name)
    local group = self.by_name[name]
    state[name], way[#way + 1] = "open", name
    for i = #group.children, 1, -1 do
      local child = group.children[i]
      if state[child] == "open" then
        report("groups." .. name .. ".children", ("the groups hold each other: %s, %s"):format(
          table.concat(way, ", "), child))
        table.remove(group.children, i)
      elseif not state[child] then
        walk(child)
      end
    end
    state[name], way[#way] = "done", nil
    order[#order + 1] = name
  end
  for _, name in ipairs(sorted_names(self.by_name)) do
    if name ~= "all" and not state[name] then walk(name) end
  end
  for i = #order, 1, -1 do -- parents before the groups in them
    local group = self.by_name[order[i]]
    for _, child in ipairs(group.children) do
      self.by_name[child].depth = math.max(self.by_name[child].depth, group.depth + 1)
    end
  end
end

---Builds the groups of an inventory's table, which may have any mistakes; those of the groups are reported.
---@param value table
---@param report pgaf.schema.Report
---@return pgaf.inventory.Groups
function groups.build(value, report)
  local self = setmetatable({ hosts = {}, paths = {}, by_name = {}, sets = {} }, Groups)
  local declared = map_of(value.groups)
  for name in pairs(IMPLICIT) do self.by_name[name] = new_group(name, declared[name]) end
  self.by_name.all.depth, self.by_name.all.children = 0, { "monitor", "data" }
  add_host(self, value.monitor, "monitor", "monitor")
  for i, entry in ipairs(list_of(value.nodes)) do add_host(self, entry, ("nodes[%d]"):format(i), "data") end
  local names = sorted_names(declared)
  if declared.quorum then report("groups.quorum", "is made of the nodes with replication_quorum: take another name") end
  for _, name in ipairs(names) do
    if not IMPLICIT[name] then self.by_name[name] = new_group(name, declared[name]) end
  end
  for _, name in ipairs(names) do
    local group = map_of(declared[name])
    if not IMPLICIT[name] then
      read_members(self, self.by_name[name], group, report)
      if self.paths[name] then report("groups." .. name, "a node has this name") end
    elseif group.hosts or group.children then
      report("groups." .. name, ("the group %q is %s by itself: it takes vars, node and priority, no members"):format(
        name, IMPLICIT[name]))
    end
  end
  find_depths(self, report)
  return self
end

---Groups that are declared as a whole, without those that are there by themselves (but for all).
---@param hosts string[]
---@param declared table<string, { hosts: string[]?, children: string[]?, priority: integer? }>
---@param report pgaf.schema.Report
---@return pgaf.inventory.Groups
function groups.declared(hosts, declared, report)
  local self = setmetatable({ hosts = hosts, paths = {}, by_name = {}, sets = {} }, Groups)
  for _, host in ipairs(hosts) do self.paths[host] = host end
  for name, group in pairs(declared) do self.by_name[name] = new_group(name, group) end
  self.by_name.all = new_group("all", declared.all)
  self.by_name.all.depth = 0
  for _, name in ipairs(sorted_names(declared)) do
    if name ~= "all" then read_members(self, self.by_name[name], declared[name], report) end
  end
  find_depths(self, report)
  return self
end

local function collect(self, name, into, seen)
  if seen[name] then return end
  seen[name] = true
  local group = self.by_name[name]
  for host in pairs(group.hosts) do into[host] = true end
  for _, child in ipairs(group.children) do collect(self, child, into, seen) end
end

---Its nodes and those of the groups in it. Not to be changed: it is made once.
---@param name string
---@return table<string, boolean>
function Groups:set(name)
  if self.sets[name] then return self.sets[name] end
  local set = {}
  self.sets[name] = set
  if name == "all" then
    for _, host in ipairs(self.hosts) do set[host] = true end
  else
    collect(self, name, set, {})
  end
  return set
end

---In the inventory's order.
---@param name string
---@return string[]
function Groups:members(name)
  local set, list = self:set(name), {}
  for _, host in ipairs(self.hosts) do
    if set[host] then list[#list + 1] = host end
  end
  return list
end

---Every group in the order in which their variables count: parents before children, then by priority and name.
---@return pgaf.inventory.Group[]
function Groups:sorted()
  local list = {}
  for _, group in pairs(self.by_name) do list[#list + 1] = group end
  table.sort(list, function(a, b)
    if a.depth ~= b.depth then return a.depth < b.depth end
    if a.priority ~= b.priority then return a.priority < b.priority end
    return a.name < b.name
  end)
  return list
end

---@param host string
---@return string[] names sorted, without "all"
function Groups:of(host)
  local names = {}
  for name in pairs(self.by_name) do
    if name ~= "all" and self:set(name)[host] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return groups
