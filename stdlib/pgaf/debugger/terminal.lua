-- The terminal as a place for a prompt.

local complete = require "pgaf.repl.complete"
local tty = require "pgafrun.tty"

local terminal = {}

local COLUMNS = 80

local Front = {}
Front.__index = Front

---Is there a terminal that controls this process, to type on?
---@return boolean
function terminal.is_there()
  local file = io.open("/dev/tty", "r")
  if file then file:close() end
  return file ~= nil
end

---@return pgaf.debugger.Front? nil without a terminal, or when somebody else has it
function terminal.open()
  if not terminal.is_there() then return nil end
  local self = setmetatable({}, Front)
  local ok, editor = pcall(require("pgafrun.line").open, {
    complete = function(before)
      if self.session then return complete.answer(self.session, before) end
    end,
  })
  if not ok then return nil end
  self.editor = editor
  return self
end

function Front:read(prompt)
  local text, why = self.editor:read(prompt)
  if text then self.editor:remember(text) end
  if why ~= "interrupted" then return text end
  if self.session then self.session:reset() end
  return ""
end

function Front:write(text) self.editor:print_above(text) end

function Front:foreground(t) self.editor:foreground(t) end

function Front:completes(session) self.session = session end

function Front.columns() return tty.size(1) or COLUMNS end

function Front:leave() self.editor:close() end

local Shared = setmetatable({}, { __index = Front })
Shared.__index = Shared

---The terminal of a prompt that is there already, whose input has come to a breakpoint().
---@param owner pgaf.repl.Terminal
---@return pgaf.debugger.Front
function terminal.share(owner) return setmetatable({ editor = owner.editor, owner = owner }, Shared) end

function Shared:write(text) self.owner:write(text) end

function Shared:foreground(t) self.editor:foreground(t or self.outer) end

function Shared:completes(session)
  self.session, self.beneath, self.outer = session, self.owner.session, self.owner.running
  self.owner.session = session
end

-- What is beneath is as it was: its completion, and what Ctrl-C cancels.
function Shared:leave()
  if not self.session then return end
  self.owner.session, self.session = self.beneath, nil
  self.editor:foreground(self.outer)
end

return terminal
