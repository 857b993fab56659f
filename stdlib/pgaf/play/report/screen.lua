-- The lowest lines of a terminal, painted again and again, with permanent lines scrolling above them.
--
-- What erases the painted lines is left in standard output's buffer after each painting, not flushed. So whatever is
-- written next takes them away first, whoever writes it: the next painting, a script's print, the log (which flushes
-- standard output before it writes to standard error), and the end of the program. If the program dies without that,
-- the lines stay where they are, above the cursor. The cursor is never hidden and no mode of the terminal is changed:
-- there is nothing to restore.

local prompt = require "pgaf.prompt"
local tty = require "pgafrun.tty"

local DEFAULT_COLUMNS, DEFAULT_ROWS = 80, 24
local STDOUT = 1

---@class pgaf.play.report.Screen
---@field write fun(text: string) into a buffer
---@field flush fun()
---@field size fun(): integer?, integer? columns, rows
---@field widths integer[] of the painted lines
---@field columns integer when they were painted
local Screen = {}
Screen.__index = Screen

---@param options? { write: fun(text: string), flush: fun(), size: fun(): integer?, integer? } default: standard output
---@return pgaf.play.report.Screen
function Screen.new(options)
  options = options or {}
  local self = setmetatable({ write = options.write, flush = options.flush, size = options.size, widths = {} }, Screen)
  if not options.write then
    -- a painting is one write, and what erases it stays in the buffer
    io.stdout:setvbuf("full", 65536)
    self.write = function(text) io.stdout:write(text) end
    self.flush = function() io.stdout:flush() end
    self.size = function() return tty.size(STDOUT) end
  end
  return self
end

---@return integer columns, integer rows
function Screen:dimensions()
  local columns, rows = self.size()
  if not columns or columns < 1 then columns = DEFAULT_COLUMNS end
  if not rows or rows < 1 then rows = DEFAULT_ROWS end
  return columns, rows
end

-- A terminal that became narrower has broken the painted lines into more; those are above what the buffer erases.
local function erase_broken(self, columns)
  if not self.columns or columns >= self.columns then return end
  local more = 0
  for _, width in ipairs(self.widths) do more = more + math.max(0, (width - 1) // columns) end
  if more > 0 then self.write(("\27[%dA\r\27[J"):format(more)) end
end

---Replaces what was painted. While somebody is asked, nothing is.
---@param lines string[] each less wide than the terminal
---@param widths integer[] their columns, without escapes
function Screen:paint(lines, widths)
  if prompt.is_asking() then
    self.widths, self.columns = {}, nil
    return self.flush()
  end
  local columns = self:dimensions()
  erase_broken(self, columns)
  self.widths, self.columns = widths, columns
  if #lines > 0 then self.write(table.concat(lines, "\n") .. "\n") end
  self.flush()
  if #lines > 0 then self.write(("\27[%dA\r\27[J"):format(#lines)) end
end

---A permanent line, where the painted ones were. The caller paints again.
---@param line string
function Screen:print(line) self.write(line .. "\n") end

---Takes the painted lines away.
function Screen:clear()
  erase_broken(self, (self:dimensions()))
  self.widths, self.columns = {}, nil
  self.flush()
end

return Screen
