-- Group expressions: which targets a step, or --limit, means. The words are those that operators know:
--
--   all                 every target                      data:monitor     both (a comma says the same)
--   data                a group, or a target's name       data:&quorum     those of data that are also in quorum
--   pgaf-*              names by wildcard (* ? [a-c])      all:!monitor     all but
--
-- As there, what is added comes first, then what is kept, then what is taken away, whatever the order of writing.

local suggest = require "pgaf.suggest"

local pattern = {}

---@class pgaf.play.Names what an expression may name
---@field targets pgaf.Target[]
---@field groups table<string, table<string, boolean>> group -> set of target names
---@field words string[] all of them, for suggestions

---@param targets pgaf.Target[]
---@param groups? table<string, string[]> beside those that the targets name themselves (`target.groups`)
---@return pgaf.play.Names
function pattern.names(targets, groups)
  local names = { targets = targets, groups = { all = {} }, words = { "all" } }
  local function add(group, name)
    if not names.groups[group] then
      names.groups[group] = {}
      names.words[#names.words + 1] = group
    end
    names.groups[group][name] = true
  end
  for _, target in ipairs(targets) do
    add("all", target.name)
    for _, group in ipairs(target.groups or {}) do add(group, target.name) end
  end
  for group, members in pairs(groups or {}) do
    for _, name in ipairs(members) do add(group, name) end
    names.groups[group] = names.groups[group] or {}
  end
  table.sort(names.words)
  for _, target in ipairs(targets) do names.words[#names.words + 1] = target.name end
  names.is_target = {}
  for _, target in ipairs(targets) do names.is_target[target.name] = true end
  return names
end

-- A shell's wildcards as a Lua pattern.
local function wildcard(word)
  local escaped = word:gsub("[%^%$%(%)%%%.%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
  -- a range's dash is no literal one
  escaped = escaped:gsub("%[.-%]", function(set) return (set:gsub("%%%-", "-"):gsub("^%[!", "[^")) end)
  return "^" .. escaped .. "$"
end

-- The set of names that one word means; nil and why not.
local function members(names, word)
  if names.groups[word] then return names.groups[word] end
  if names.is_target[word] then return { [word] = true } end
  if not word:find("[%*%?%[]") then
    local near = suggest(word, names.words)
    return nil, ("there is no target or group %q%s"):format(word, near and (", did you mean %q?"):format(near) or "")
  end
  local ok, found = pcall(function()
    local set, lua_pattern = {}, wildcard(word)
    for _, target in ipairs(names.targets) do
      if target.name:find(lua_pattern) then set[target.name] = true end
    end
    for group, list in pairs(names.groups) do
      if group ~= "all" and group:find(lua_pattern) then
        for name in pairs(list) do set[name] = true end
      end
    end
    return set
  end)
  if not ok then return nil, ("%q is no wildcard: a bracket is not closed"):format(word) end
  if not next(found) then return nil, ("no target or group matches %q"):format(word) end
  return found
end

local function each_word(expression, visit)
  if type(expression) == "table" then
    for _, one in ipairs(expression) do each_word(one, visit) end
    return
  end
  for word in tostring(expression):gmatch("[^:,]+") do
    local operator, name = word:match("^%s*([!&]?)%s*(.-)%s*$")
    if name ~= "" then visit(operator, name) end
  end
end

---The targets that an expression, or a list of them, means, in the play's order.
---@param expression string|string[]
---@param names pgaf.play.Names
---@return pgaf.Target[] targets, string[] problems
function pattern.select(expression, names)
  local sets = { [""] = {}, ["&"] = {}, ["!"] = {} }
  local problems = {}
  each_word(expression, function(operator, word)
    local set, problem = members(names, word)
    if set then table.insert(sets[operator], set) else problems[#problems + 1] = problem end
  end)
  -- only taken away from: from all
  if #sets[""] == 0 and #problems == 0 and (#sets["&"] > 0 or #sets["!"] > 0) then sets[""] = { names.groups.all } end
  local function in_any(list, name)
    for _, set in ipairs(list) do
      if set[name] then return true end
    end
    return false
  end
  local found = {}
  for _, target in ipairs(names.targets) do
    local name = target.name
    local wanted = in_any(sets[""], name) and not in_any(sets["!"], name)
    for _, set in ipairs(sets["&"]) do wanted = wanted and set[name] end
    if wanted then found[#found + 1] = target end
  end
  return found, problems
end

return pattern
