-- Variables of nodes. From the weakest to the strongest:
--
--   all        the inventory's `vars`, and those of the group `all`
--   groups     parents before the groups in them, then by priority, then by name
--   the node   its own `vars`
--   -e         extra variables
--
-- The stronger one replaces the weaker one's value as a whole.

local variables = {}

---@class pgaf.inventory.Source variables from one place, for some nodes
---@field from string in words: "group quorum", "host pgaf-1", "-e"
---@field rank integer ALL .. EXTRA: the higher wins, among equals the later
---@field hosts table<string, boolean>? nil: all
---@field vars table<string, any>
---@field place fun(name: string): string, integer file and line of a variable
---@field render? fun(name: string, host: string): any what the value is for this node; nil: it cannot be worked out

---@alias pgaf.inventory.Place { from: string, file: string, line: integer }
---@alias pgaf.inventory.Resolved { value: any, place: pgaf.inventory.Place, overridden: pgaf.inventory.Place[] }

-- In between are those of an Ansible inventory, whose files have an order of their own.
variables.ALL, variables.GROUP, variables.HOST, variables.EXTRA = 15, 25, 35, 99

---The sources that a table of ours has.
---@param value table
---@param groups pgaf.inventory.Groups
---@param place fun(path: string): string, integer
---@return pgaf.inventory.Source[]
function variables.of_inventory(value, groups, place)
  local list = {}
  local function add(from, rank, hosts, vars, path)
    if type(vars) ~= "table" or not next(vars) then return end
    list[#list + 1] = {
      from = from, rank = rank, hosts = hosts, vars = vars,
      place = function(name) return place(path .. "." .. name) end,
    }
  end
  add("all", variables.ALL, nil, value.vars, "vars")
  for _, group in ipairs(groups:sorted()) do
    local is_all = group.name == "all"
    add(is_all and "all" or "group " .. group.name, is_all and variables.ALL or variables.GROUP,
      not is_all and groups:set(group.name) or nil, group.vars, ("groups.%s.vars"):format(group.name))
  end
  for _, host in ipairs(groups.hosts) do
    local entry = groups.paths[host] == "monitor" and value.monitor or
      value.nodes[tonumber(groups.paths[host]:match("%d+"))]
    add("host " .. host, variables.HOST, { [host] = true }, entry.vars, groups.paths[host] .. ".vars")
  end
  return list
end

local function in_order(sources)
  local order = {}
  for i, source in ipairs(sources) do order[i] = { source = source, index = i } end
  table.sort(order, function(a, b)
    if a.source.rank ~= b.source.rank then return a.source.rank < b.source.rank end
    return a.index < b.index
  end)
  return order
end

-- Each node's own sources: most are of one node, and looking at all of them for each node would be quadratic.
local function by_host(hosts, sources)
  local lists = {}
  for _, host in ipairs(hosts) do lists[host] = {} end
  for _, item in ipairs(in_order(sources)) do
    if not item.source.hosts then
      for _, host in ipairs(hosts) do table.insert(lists[host], item.source) end
    else
      for host in pairs(item.source.hosts) do
        if lists[host] then table.insert(lists[host], item.source) end
      end
    end
  end
  return lists
end

---What each node ends up with.
---@param hosts string[]
---@param sources pgaf.inventory.Source[]
---@return table<string, table<string, pgaf.inventory.Resolved>>
function variables.resolve(hosts, sources)
  local lists, result = by_host(hosts, sources), {}
  for _, host in ipairs(hosts) do
    local found = {}
    for _, source in ipairs(lists[host]) do
      for name, value in pairs(source.vars) do
        local file, line = source.place(name)
        local place = { from = source.from, file = file, line = line }
        local before = found[name]
        found[name] = { value = value, place = place, overridden = before and before.overridden or {},
          render = source.render }
        if before then table.insert(found[name].overridden, 1, before.place) end
      end
    end
    for name, one in pairs(found) do
      if one.render then one.value = one.render(name, host) end
      one.render = nil
      if one.value == nil then found[name] = nil end -- it cannot be rendered, which was told
    end
    result[host] = found
  end
  return result
end

return variables
