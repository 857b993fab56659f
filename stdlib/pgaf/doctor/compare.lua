-- What is different between the nodes of a formation, from what was seen of each.

local compare = {}

-- "15.4 on a, b; 15.6 on c"
local function told(by_version)
  local versions, parts = {}, {}
  for version in pairs(by_version) do versions[#versions + 1] = version end
  table.sort(versions)
  for i, version in ipairs(versions) do
    parts[i] = ("%s on %s"):format(version, table.concat(by_version[version], ", "))
  end
  return table.concat(parts, "; "), #versions
end

local function group(names, facts, key)
  local by_version = {}
  for _, name in ipairs(names) do
    local version = facts[name] and facts[name][key]
    if version then
      by_version[version] = by_version[version] or {}
      table.insert(by_version[version], name)
    end
  end
  return told(by_version)
end

local function major(version) return version:match "^%d+" end

-- Streaming replication is between servers of one major version alone.
local function differ_in_major(names, facts)
  local first
  for _, name in ipairs(names) do
    local version = facts[name] and facts[name].installed
    if version and first and major(version) ~= first then return true end
    first = first or version and major(version)
  end
  return false
end

local function versions(page, what, names, facts, key)
  local text, count = group(names, facts, key)
  if count == 0 then return end
  if count == 1 then return page:ok(("%s %s"):format(what, text)) end
  page:warning(("%s is not the same everywhere: %s"):format(what, text),
    "upgrade the packages on the nodes that are behind, standbys first, then switch over")
end

-- Packages were upgraded under a server that goes on with the old program.
local function restarts(page, names, facts)
  for _, name in ipairs(names) do
    local one = facts[name] or {}
    if one.installed and one.running and one.installed ~= one.running then
      page:warning(("%s runs PostgreSQL %s, while %s is installed"):format(name, one.running, one.installed),
        ("restart PostgreSQL on %s, a standby first: systemctl restart pgautofailover"):format(name))
    end
  end
end

local CLOCKS_WARNING = 0.5

local function clocks(page, names, facts)
  local low, high
  for _, name in ipairs(names) do
    local clock = facts[name] and facts[name].clock
    if clock and (not low or clock.offset < facts[low].clock.offset) then low = name end
    if clock and (not high or clock.offset > facts[high].clock.offset) then high = name end
  end
  if not low or low == high then return end
  local a, b = facts[low].clock, facts[high].clock
  local apart, uncertainty = b.offset - a.offset, a.uncertainty + b.uncertainty
  local text = ("the nodes' clocks are at most %.4f s apart (+- %.4f s): %s is behind %s"):format(apart, uncertainty,
    low, high)
  if apart - uncertainty > CLOCKS_WARNING then
    page:warning(text, "let chrony or systemd-timesyncd set them; a container has the clock of its host")
  else
    page:ok(text)
  end
end

---@param page pgaf.doctor.Page
---@param monitor string
---@param nodes string[] the data nodes
---@param facts table<string, pgaf.doctor.NodeFacts>
function compare.nodes(page, monitor, nodes, facts)
  local all = { monitor, table.unpack(nodes) }
  if differ_in_major(nodes, facts) then
    page:problem("the data nodes have PostgreSQL of different major versions: " .. (group(nodes, facts, "installed")),
      "postgres.version of the inventory says which one it shall be; make the other nodes anew")
  else
    versions(page, "PostgreSQL", all, facts, "installed")
  end
  versions(page, "pg_autoctl", all, facts, "autoctl")
  restarts(page, nodes, facts)
  clocks(page, all, facts)
end

return compare
