-- From the lines that shall be on the screen to the bytes that make it so: only lines that differ are written, each
-- frame is one write between the marks of a synchronized update, and nothing is erased that is written again at once.
-- So nothing flickers.

local ENTER_SCREEN, LEAVE_SCREEN = "\27[?1049h", "\27[?1049l"
local HIDE_CURSOR, SHOW_CURSOR = "\27[?25l", "\27[?25h"
-- A line that is too long for a moment, while the terminal becomes narrower, is cut and not broken.
local NO_WRAP, WRAP = "\27[?7l", "\27[?7h"
-- Terminals that do not know it leave it out.
local BEGIN_UPDATE, END_UPDATE = "\27[?2026h", "\27[?2026l"
local PLAIN, ERASE_LINE, ERASE_ALL = "\27[0m", "\27[K", "\27[2J"

---@class pgaf.watch.Picture
---@field shown string[]
local Picture = {}
Picture.__index = Picture

local picture = {
  ENTER = ENTER_SCREEN .. HIDE_CURSOR .. NO_WRAP .. ERASE_ALL,
  LEAVE = END_UPDATE .. PLAIN .. WRAP .. SHOW_CURSOR .. LEAVE_SCREEN,
}

---@return pgaf.watch.Picture
function picture.new() return setmetatable({ shown = {} }, Picture) end

---What is on the screen is not known any more.
function Picture:forget() self.size = nil end

---The bytes that put these lines on the screen; nil when they are there.
---@param lines string[] not more than rows, narrower than columns: what erases the rest of a line begins after it
---@param columns integer
---@param rows integer
---@return string?
function Picture:frame(lines, columns, rows)
  local size = columns .. "x" .. rows
  local parts = { BEGIN_UPDATE }
  if self.size ~= size then
    self.size, self.shown = size, {}
    parts[2] = PLAIN .. ERASE_ALL
  end
  for i = 1, math.max(#lines, #self.shown) do
    local line = lines[i] or ""
    if line ~= (self.shown[i] or "") then
      parts[#parts + 1] = ("\27[%d;1H%s%s%s"):format(i, line, PLAIN, ERASE_LINE)
      self.shown[i] = line
    end
  end
  for i = #self.shown, #lines + 1, -1 do self.shown[i] = nil end
  if #parts == 1 then return nil end
  parts[#parts + 1] = END_UPDATE
  return table.concat(parts)
end

return picture
