-- A fault: a Lua file that says what is broken, what must happen then, and how it is done. The project's are in
-- scripts/drills/; an operator's own may lie anywhere. docs/writing-a-drill.md walks through one.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local program = require "pgafrun.program"
local schema = require "pgaf.schema"
local suggest = require "pgaf.suggest"

local FOLDER = "scripts/drills"

local fault = {}

---@class pgaf.Fault
---@field name string of its file, with dashes
---@field title string a few words: "container killed"
---@field hypothesis string what must happen, in a sentence or two
---@field promotion "must"|"never"|"may" does another node become primary?
---@field writes "resume"|"continue"|"stop" resume: after a fail-over, within the budget; continue: no standstill is
---longer than the budget; stop: clients may be without service until it is put back
---@field planned? boolean not a loss that has to be noticed: the prediction says nothing about it
---@field longest_gap? number seconds that clients may be unable to write, where that is not for the user to say
---@field observe? number|fun(drill: pgaf.Drill): number seconds that are looked at before it is put back, where no
---fail-over is waited for
---@field needs string[] what the provider must be able to do
---@field possible? fun(drill: pgaf.Drill): string? why it cannot be done to this formation, having looked closer
---@field nodes integer data nodes that it takes, at least
---@field victim? fun(drill: pgaf.Drill): string the node the timeline follows; default the primary
---@field run fun(drill: pgaf.Drill)

local function a_function(value, where, report)
  if type(value) ~= "function" then report(where, "wants a function of the drill") end
  return value
end

local fields = schema.record {
  title = { schema.text(), required = true },
  hypothesis = { schema.text(), required = true },
  promotion = { schema.one_of("must", "never", "may"), required = true },
  writes = { schema.one_of("resume", "continue", "stop"), required = true },
  planned = { schema.boolean(), default = false },
  longest_gap = { schema.number(0, "seconds") },
  observe = {
    function(value, where, report)
      if type(value) ~= "number" and type(value) ~= "function" then report(where, "wants seconds, or a function") end
      return value
    end,
  },
  needs = { schema.list(schema.text()), default = {} },
  nodes = { schema.integer(2, 100), default = 2 },
  victim = { a_function },
  possible = { a_function },
  run = { a_function, required = true },
}

local function name_of(path) return (path:match("([^/]+)%.lua$"):gsub("_", "-")) end

---The files of the project's own faults, by name.
---@return table<string, string> paths
---@return string[] names sorted
function fault.catalogue()
  local paths, names = {}, {}
  for _, root in ipairs(program.roots) do
    local folder = ("%s/%s"):format(root, FOLDER)
    for _, file in ipairs(fs.stat(folder) and fs.list(folder) or {}) do
      if file:match "%.lua$" and not paths[name_of(file)] then
        paths[name_of(file)], names[#names + 1] = folder .. "/" .. file, name_of(file)
      end
    end
  end
  table.sort(names)
  return paths, names
end

local function refuse(message, hint) error.raise { kind = "usage", message = message, hint = hint } end

local function find(word)
  if word:match "%.lua$" then
    if not fs.stat(word) then refuse(("there is no fault file %s"):format(word)) end
    return word
  end
  local paths, names = fault.catalogue()
  local name = word:gsub("_", "-") -- its file is called so
  if paths[name] then return paths[name] end
  local near = suggest(name, names)
  refuse(("there is no fault %q%s"):format(word, near and (", did you mean %q?"):format(near) or ""),
    "the faults: " .. table.concat(names, ", "))
end

---Loads a fault by its name, or from a file of one's own. Raises kind "usage" with every mistake in it.
---@param word string
---@return pgaf.Fault
function fault.load(word)
  local path = find(word)
  local chunk, message = load(fs.read(path), "@" .. path, "t")
  if not chunk then refuse(message) end
  local problems = {}
  local result = fields(chunk(), "", function(where, what)
    problems[#problems + 1] = ("%s: %s: %s"):format(path, where, what)
  end)
  if #problems > 0 then refuse(table.concat(problems, "\n")) end
  result.name = name_of(path)
  return result
end

---Raises, before anything is touched, when this formation cannot be drilled so.
---@param self pgaf.Fault
---@param provider pgaf.Provider
---@param inventory pgaf.Inventory
function fault.check(self, provider, inventory)
  if #inventory.nodes < self.nodes then
    refuse(("fault %s takes %d data nodes, and formation %s has %d"):format(
      self.name, self.nodes, inventory.formation, #inventory.nodes))
  end
  for _, ability in ipairs(self.needs) do
    local can, reason = provider:can(ability)
    if not can then
      error.raise {
        kind = "unsupported", operation = "fault " .. self.name,
        message = ("the %s provider cannot do this fault: %s"):format(provider.kind, reason or "no " .. ability),
        hint = "pgafrun drill --list tells what each fault needs",
      }
    end
  end
end

return fault
