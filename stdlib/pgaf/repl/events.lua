-- The formation's events at the prompt: the last ones, and each as it comes, above the line that is being typed.

local inspect = require "pgaf.repl.inspect"
local operate = require "pgaf.operate.events"
local task = require "pgafrun.task"

-- What comes in a burst is shown together: the line being typed is drawn once for all of it.
local TOGETHER_SECONDS = 0.05

local events = {}

---@class pgaf.repl.Events
---@field scene pgaf.repl.Scene
---@field group pgafrun.Group where it goes on
---@field task pgafrun.Task?
local Events = {}
Events.__index = Events

---@param scene pgaf.repl.Scene
---@param group pgafrun.Group
---@return pgaf.repl.Events
function events.new(scene, group) return setmetatable({ scene = scene, group = group }, Events) end

---Collects texts and shows them together.
---@param group pgafrun.Group
---@param say fun(text: string)
---@return fun(text: string) add does not wait
function events.gathered(group, say)
  local lines, filled = {}, task.condition()
  group:spawn_named("show events", function()
    while true do
      if #lines == 0 then filled:wait() end
      task.sleep(TOGETHER_SECONDS)
      local text = table.concat(lines, "\n")
      lines = {}
      if text ~= "" then say(text) end
    end
  end)
  return function(text)
    lines[#lines + 1] = text
    filled:notify()
  end
end

-- One row of the screen each: monitor:events() tells all of it.
local function on_one_row(text, columns)
  local cut = utf8.len(text) and utf8.offset(text, columns)
  return cut and cut <= #text and text:sub(1, cut - 1) .. "…" or text
end

local function follow(self, session)
  local group <close> = task.group { name = "events" }
  local add = events.gathered(group, function(text) session:say(text) end)
  operate.follow(self.scene:context(), 0, nil,
    function(event) add(on_one_row(inspect.plain(operate.line(event)), session:columns())) end, add)
end

---Shows them from now on, with what becomes of the connection to the monitor.
---@param session pgaf.repl.Session
function Events:start(session)
  if self.task then return end
  self.task = self.group:spawn_named(":events", function()
    local ok, raised = pcall(follow, self, session)
    self.task = nil
    if not ok then
      task.check()
      session:fail(raised)
    end
  end)
end

---No longer.
function Events:stop()
  local running = self.task
  self.task = nil
  if running then running:cancel() end
end

---A list of events, which is shown one a line.
local List = {}

function List.__repl(self)
  local lines = {}
  for i, event in ipairs(self) do lines[i] = inspect.plain(operate.line(event)) end
  return #lines > 0 and table.concat(lines, "\n") or "no events"
end

---The last ones.
---@param scene pgaf.repl.Scene
---@param count integer
---@return pgaf.operate.Event[]
function events.last(scene, count) return setmetatable(operate.last(scene:context(), count), List) end

return events
