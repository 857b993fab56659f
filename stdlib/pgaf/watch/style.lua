-- Pieces of a line, { text, style }, as what a terminal shows. Without colours, what changed is still told apart.

local text = require "pgaf.play.report.text"

local style = {}

local COLOURS = {
  good = "32", warn = "33", bad = "31;1", faint = "2", bold = "1", head = "4", lit = "30;43", chosen = "7",
}
-- These are no colours: NO_COLOR leaves them.
local PLAIN = { bold = "1", head = "4", lit = "7", chosen = "7" }

---@alias pgaf.watch.Piece { [1]: string, [2]?: string }

---@param pieces pgaf.watch.Piece[]
---@return integer columns
function style.width(pieces)
  local width = 0
  for _, piece in ipairs(pieces) do width = width + text.width(piece[1]) end
  return width
end

---A line as it is written.
---@param pieces pgaf.watch.Piece[]
---@param columns integer what is beyond is cut off
---@param how "colours"|"plain"|"none" none: no escape at all
---@param mark? string shows that something was cut off
---@return string
function style.line(pieces, columns, how, mark)
  local codes = how == "colours" and COLOURS or how == "plain" and PLAIN or {}
  local parts, room = {}, columns
  for _, piece in ipairs(pieces) do
    if room <= 0 then break end
    local shown = text.cut(piece[1], room, mark)
    room = room - text.width(shown)
    local code = codes[piece[2]]
    parts[#parts + 1] = code and shown ~= "" and ("\27[%sm%s\27[0m"):format(code, shown) or shown
    if shown ~= piece[1] then break end
  end
  return (table.concat(parts):gsub("%s+$", ""))
end

return style
