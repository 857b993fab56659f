-- --syntax-check: everything that can be known to be wrong without touching anything, in one go and with its place.
--
-- The script is run a second time inside this one, up to play.main, with whatever it raises caught; before that, its
-- own file, the modules that it requires and its inventory are read for globals that nobody has defined.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local globals = require "pgaf.play.globals"
local layers = require "pgaf.inventory.layers"
local program = require "pgafrun.program"
local source_lines = require "pgaf.source_lines"
local task = require "pgafrun.task"

local syntax = {}

local active -- what is found; nil outside of a check

---@class pgaf.play.Findings
---@field problems string[] each with "file:line: " before it, where that is known
---@field files string[] that were read
---@field plan pgaf.Plan?
---@field blind boolean? the bytecode is of an unknown kind: no globals were looked for
local Findings = {}
Findings.__index = Findings

local function new()
  return setmetatable({ problems = {}, told = {}, files = {}, modules = {}, seen = {}, places = {} }, Findings)
end

function Findings:add(text)
  if not self.told[text] then self.problems[#self.problems + 1] = text end
  self.told[text] = true
end

-- ------------------------------------------------------------------------------------------------------------ files

-- The library that comes with pgafrun, and Lua's own, are not what is checked.
local function is_library(name) return name:find "^pgaf%." or name:find "^pgafrun%." or package.preload[name] end

-- Words after which a value is wanted. After any other, and after the end of a value, a call is a statement.
local TAKES_VALUE = {
  ["return"] = true, ["and"] = true, ["or"] = true, ["not"] = true, ["in"] = true, ["if"] = true, ["elseif"] = true,
  ["while"] = true, ["until"] = true,
}
local ENDS_VALUE = { [")"] = true, ["}"] = true, ["]"] = true, [";"] = true, string = true, number = true }

-- The lines of calls of play.main that nobody takes the result of.
local function lost_exit_codes(text)
  local lines, list = {}, source_lines.tokens(text)
  for i, token in ipairs(list) do
    local dot, name, open = list[i + 1], list[i + 2], list[i + 3]
    if token.kind == "name" and token.text == "play" and open and dot.kind == "." and name.text == "main" and
      open.kind == "(" then
      local before = list[i - 1]
      local is_name = before and before.kind == "name"
      if not before or ENDS_VALUE[before.kind] or (is_name and not TAKES_VALUE[before.text]) then
        lines[#lines + 1] = token.line
      end
    end
  end
  return lines
end

function Findings:file(path)
  if self.seen[path] then return end
  self.seen[path] = true
  local found, text = pcall(fs.read, path)
  if not found then return self:add(("%s: cannot be read"):format(path)) end
  local chunk, message = load(text, "@" .. path, "t")
  if not chunk then return self:add(message) end
  self.files[#self.files + 1] = path
  local list = globals.undefined(chunk)
  if not list then
    self.blind = true
    return
  end
  for _, one in ipairs(list) do
    local near = one.near and (", did you mean %q?"):format(one.near) or ""
    self.places[("%s:%d"):format(path, one.line)] = true
    self:add(("%s:%d: %s %q%s"):format(path, one.line,
      one.assigned and "assignment to an undefined global" or "undefined global", one.name, near))
  end
  for _, line in ipairs(lost_exit_codes(text)) do
    self:add(("%s:%d: the exit code is lost: return play.main(p, arguments)"):format(path, line))
  end
  for name in text:gmatch "%f[%w_]require%s*%(?%s*[\"']([%w_%.%-]+)[\"']" do
    if not is_library(name) then self.modules[#self.modules + 1] = name end
  end
end

-- Once more when the script has run: it may have said where its modules are.
function Findings:read_modules()
  local at = 1
  while self.modules[at] do
    local path = package.searchpath(self.modules[at], package.path)
    if path and not path:find "^/usr/share/lua/" then self:file(path) end
    at = at + 1
  end
end

-- ----------------------------------------------------------------------------------------------------- what is raised

function Findings:raised(raised)
  local list = type(raised) == "table" and raised.problems
  if type(list) == "table" and type(list[1]) == "string" then
    for _, problem in ipairs(list) do self:add(problem) end
    return
  end
  if error.is(raised, "inventory") or error.is(raised, "usage") then
    -- a head, and a line for each mistake with its place
    local rest = raised.message:match "^[^\n]*:\n(.*)$"
    for line in (rest or raised.message):gmatch "[^\n]+" do self:add((line:match "^%s*(.*)$")) end
    return
  end
  local text = type(raised) == "table" and raised.message or tostring(raised)
  local place, what = text:match "^([^\n]-:%d+): ([^\n]*)"
  -- strict globals raise what the bytecode has told already
  local is_strict = what and (what:find "^undefined global" or what:find "^assignment to global")
  if is_strict and self.places[place] then return end
  if not place and type(raised) == "table" and raised.where then text = raised.where .. ": " .. text end
  self:add(text)
end

local function tell(found)
  if #found.problems > 0 then
    for _, problem in ipairs(found.problems) do io.stdout:write(problem, "\n") end
    io.stdout:write(("%d %s\n"):format(#found.problems, #found.problems == 1 and "mistake" or "mistakes"))
  else
    local plan = found.plan
    io.stdout:write(("syntax ok: %s: %d steps on %d targets\n"):format(plan.title, #plan.steps, #plan.targets))
  end
  if found.blind then
    io.stdout:write(("not checked: undefined globals, because the bytecode of %s is of a kind that is not known\n")
      :format(_VERSION))
  end
end

---Is a check going on, of which this run of the script is a part?
---@return boolean
function syntax.is_active() return active ~= nil end

-- The main program's own file, loaded and run with the same arguments.
local function run_script(found, ...)
  local chunk = loadfile(program.script, "t")
  if not chunk then return end -- its mistake is told already
  local ok, raised = pcall(chunk, ...)
  if ok then
    if not found.plan and #found.problems == 0 then
      found:add(("%s: it ended without play.main(p, arguments): there is no play to check"):format(program.script))
    end
    return
  end
  task.check()
  if error.is(raised, "cancelled") then error.raise(raised) end
  if error.is(raised, "exit") then return end
  found:raised(raised)
  -- what it had declared until then can be looked at all the same
  local declared = require("pgaf.play").declared
  local partial = declared[#declared]
  if not partial or found.plan then return end
  partial.is_partial = true
  local built, mistakes = pcall(partial.plan, partial)
  if not built then found:raised(mistakes) end
end

---Checks the script that is running, and ends the program with the outcome. Called by cli.parse.
---@param inventory? string its file
---@param ... string the script's arguments
function syntax.check(inventory, ...)
  active = new()
  require("pgaf.play").declared = {}
  active:file(program.script)
  if inventory and inventory:find "%.lua$" and fs.stat(inventory) then active:file(inventory) end
  layers.watch(function(file) active:file(file) end) -- what it builds on
  active:read_modules()
  run_script(active, ...)
  active:read_modules()
  tell(active)
  error.raise { kind = "exit", message = "exit", status = #active.problems == 0 and 0 or 1 }
end

---The end of the inner run: the plan is built whole, whatever was chosen of it, and then what was chosen is looked at.
---@param p pgaf.Play
---@param selection pgaf.play.Selection
---@param mistake? string what is wrong with how it was called
---@return integer exit_code
function syntax.finish(p, selection, mistake)
  -- without a file (pgafrun -e) there was no outer run
  local found = active or new()
  if mistake then found:add(mistake) end
  for _, chosen in ipairs { {}, next(selection) and selection or nil } do
    local ok, raised = pcall(p.plan, p, chosen)
    if ok then found.plan = raised else found:raised(raised) end
  end
  if not active then
    tell(found)
    return #found.problems == 0 and 0 or 1
  end
  return 0
end

return syntax
