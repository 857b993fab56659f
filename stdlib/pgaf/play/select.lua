-- Which part of a play is run: --tags, --skip-tags, --limit, --start-at. The words `always`, `never`, `all`, `tagged`
-- and `untagged` mean what operators know of them.

local error = require "pgafrun.error"
local pattern = require "pgaf.play.pattern"
local suggest = require "pgaf.suggest"

local select = {}

---@class pgaf.play.Selection
---@field tags? string[]
---@field skip_tags? string[]
---@field limit? string[] group expressions
---@field start_at? string a step's name

local SPECIAL = { "always", "never", "all", "tagged", "untagged" }

local function set_of(list)
  local set = {}
  for _, one in ipairs(list) do set[one] = true end
  return set
end

local function any(tags, set)
  for _, tag in ipairs(tags) do
    if set[tag] then return true end
  end
  return false
end

---Would a step with these tags run?
---@param tags string[]
---@param only? string[] --tags
---@param skip? string[] --skip-tags
---@return boolean
function select.tagged(tags, only, skip)
  local own, wanted, left_out = set_of(tags), set_of(only or { "all" }), set_of(skip or {})
  local run = own.always or any(tags, wanted) or (wanted.all and not own.never) or
    (wanted.tagged and #tags > 0 and not own.never) or (wanted.untagged and #tags == 0)
  if not run then return false end
  if left_out.all and (not own.always or left_out.always) then return false end
  if any(tags, left_out) then return false end
  return not ((left_out.tagged and #tags > 0) or (left_out.untagged and #tags == 0))
end

---All tags of a play, sorted.
---@param steps pgaf.Step[]
---@return string[]
function select.tags(steps)
  local seen, list = {}, {}
  for _, step in ipairs(steps) do
    for _, tag in ipairs(step.tags or {}) do
      if not seen[tag] then list[#list + 1] = tag end
      seen[tag] = true
    end
  end
  table.sort(list)
  return list
end

local function check_words(option, words, known, what, problems)
  local set = set_of(known)
  for _, word in ipairs(words or {}) do
    if not set[word] then
      local near = suggest(word, known)
      problems[#problems + 1] = ("%s: there is no %s %q%s"):format(option, what, word,
        near and (", did you mean %q?"):format(near) or "")
    end
  end
end

-- The place in the order of declaration that --start-at names: its whole name, or a wildcard. Handlers, which are the
-- last, have none: nothing would be left to notify them.
local function start_index(steps, name, problems)
  local names = {}
  for i, step in ipairs(steps) do
    if step[1] == name and step.is_handler then
      problems[#problems + 1] =
        ("--start-at: %q is a handler, which runs when it is notified: name a step"):format(name)
      return 1
    end
    if step[1] == name then return i end
    if not step.is_handler then names[i] = step[1] end
  end
  if name:find("[%*%?]") then
    local targets = {}
    for i, one in ipairs(names) do targets[i] = { name = one } end
    local found = pattern.select(name:gsub("[:,]", "?"), pattern.names(targets))
    for i, one in ipairs(names) do
      if found[1] and one == found[1].name then return i end
    end
  end
  check_words("--start-at", { name }, names, "step", problems)
  return 1
end

---What is chosen, as two questions. Raises kind "usage" with every misspelt name.
---@param selection pgaf.play.Selection
---@param steps pgaf.Step[]
---@param names? pgaf.play.Names nil: the play's targets are not known, and --limit is not looked at
---@return { step: fun(step: pgaf.Step, index: integer): boolean, target: fun(name: string): boolean }
function select.compile(selection, steps, names)
  local problems = {}
  local tags = select.tags(steps)
  for _, word in ipairs(SPECIAL) do tags[#tags + 1] = word end
  check_words("--tags", selection.tags, tags, "tag", problems)
  check_words("--skip-tags", selection.skip_tags, tags, "tag", problems)
  local limit
  if selection.limit and names then
    local targets, wrong = pattern.select(selection.limit, names)
    for _, problem in ipairs(wrong) do problems[#problems + 1] = "--limit: " .. problem end
    if #wrong == 0 and #targets == 0 then problems[#problems + 1] = "--limit: it leaves no target" end
    limit = {}
    for _, target in ipairs(targets) do limit[target.name] = true end
  end
  local first = selection.start_at and start_index(steps, selection.start_at, problems) or 1
  if #problems > 0 then error.raise { kind = "usage", message = table.concat(problems, "\n  ") } end
  return {
    step = function(step, index)
      if index < first then return false end
      return select.tagged(step.tags or {}, selection.tags, selection.skip_tags)
    end,
    target = function(name) return not limit or limit[name] or false end,
  }
end

return select
