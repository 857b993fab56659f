-- A session on a terminal: reads lines, and shows what is written while one is typed above it.

local throw = error
local complete = require "pgaf.repl.complete"
local error = require "pgafrun.error"
local history = require "pgaf.repl.history"
local line = require "pgafrun.line"
local log = require "pgafrun.log"
local tty = require "pgafrun.tty"

local terminal = {}

local STDIN = 0
local MORE = "... "

---@class pgaf.repl.Terminal
---@field editor pgafrun.line.Editor
---@field history pgaf.repl.History
---@field session pgaf.repl.Session? once there is one: it completes
---@field running pgafrun.Task? what Ctrl-C cancels
local Terminal = {}
Terminal.__index = Terminal

---Opens the line editor. Raises kind system where there is no terminal.
---@return pgaf.repl.Terminal to be closed
function terminal.open()
  local self = setmetatable({}, Terminal)
  self.editor = line.open {
    complete = function(before)
      if self.session then return complete.answer(self.session, before) end
    end,
  }
  self.history = history.open()
  for _, entry in ipairs(self.history.entries) do self.editor:remember(entry) end
  return self
end

function Terminal:close() self.editor:close() end
Terminal.__close = Terminal.close

---Shows a text: above the line being typed, or on standard output.
---@param text string
function Terminal:write(text)
  if self.editor:is_reading() then
    self.editor:print_above(text)
  else
    io.stdout:write(text)
    io.stdout:flush()
  end
end

---@return integer
function Terminal.columns() return (tty.size(STDIN)) or 80 end

---For a question in the middle of a call.
---@param prompt string
---@return string?
function Terminal:ask(prompt) return (self.editor:read(prompt)) end

---For pgaf.repl.session: which task Ctrl-C cancels.
---@param running pgafrun.Task?
function Terminal:foreground(running)
  self.running = running
  self.editor:foreground(running)
end

-- An input is kept when it is whole, also when it ended the session.
local function feed(self, session, text)
  local whole = session.pending and session.pending .. "\n" .. text or text
  local ok, outcome = pcall(session.feed, session, text)
  if (not ok or outcome ~= "more") and whole:find "%S" then
    self.editor:remember(whole)
    self.history:add(whole)
  end
  if not ok then throw(outcome, 0) end
end

---Reads inputs and runs them until Ctrl-D, or until one asks to quit (kind "exit").
---@param session pgaf.repl.Session
---@param prompt string
function Terminal:run(session, prompt)
  self.session = session
  while true do
    local ok, text, why = pcall(self.editor.read, self.editor, session.pending and MORE or prompt)
    if not ok then
      if not error.is(text, "limit") then throw(text, 0) end
      log.error(tostring(text))
    elseif text then
      feed(self, session, text)
    elseif why == "interrupted" then
      session:reset()
    elseif session.pending then
      session:reset()
    else
      return
    end
  end
end

return terminal
