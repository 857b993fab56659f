-- Text as it may be shown: what nodes and servers wrote is not to be trusted with somebody's terminal, nor to be UTF-8.

local text = {}

local ESCAPES = { ["\r"] = "\\r", ["\27"] = "\\e", ["\0"] = "\\0" }

local function escape(byte) return ESCAPES[byte] or ("\\x%02x"):format(byte:byte()) end

-- Bytes that are no UTF-8, one by one as escapes.
local function repair(value)
  local parts, from = {}, 1
  while from <= #value do
    local length, bad = utf8.len(value, from)
    if length then
      parts[#parts + 1] = value:sub(from)
      break
    end
    parts[#parts + 1] = value:sub(from, bad - 1)
    parts[#parts + 1] = escape(value:sub(bad, bad))
    from = bad + 1
  end
  return table.concat(parts)
end

---The text as valid UTF-8 without control characters, which show as escapes. Line breaks and tabs stay.
---@param value string
---@return string
function text.clean(value)
  if not value:find "[%c\128-\255]" then return value end
  if not utf8.len(value) then value = repair(value) end
  value = value:gsub("[%z\1-\8\11-\31\127]", escape)
  -- U+0080 to U+009F are controls too
  return (value:gsub("\194([\128-\159])", escape))
end

---@param value string
---@return string[] without their line breaks; one that ends the text begins no further line
function text.lines(value)
  local lines = {}
  for line in (value .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  if lines[#lines] == "" then lines[#lines] = nil end
  return lines
end

---The last `n` lines that hold anything.
---@param value string
---@param n integer
---@return string[]
function text.last_lines(value, n)
  local lines = {}
  for line in value:gmatch "[^\n]+" do
    if line:find "%S" then lines[#lines + 1] = line end
  end
  return table.move(lines, math.max(1, #lines - n + 1), #lines, 1, {})
end

-- East Asian wide and emoji; combining marks and joiners take no room. Enough for a progress line.
local function width_of(code)
  if code < 0x300 then return 1 end
  if code <= 0x36f or (code >= 0x200b and code <= 0x200f) or (code >= 0xfe00 and code <= 0xfe0f) then return 0 end
  if (code >= 0x1100 and code <= 0x115f) or (code >= 0x2e80 and code <= 0xa4cf) or (code >= 0xac00 and code <= 0xd7a3)
    or (code >= 0xf900 and code <= 0xfaff) or (code >= 0xfe30 and code <= 0xfe6f) or (code >= 0xff00 and code <= 0xff60)
    or (code >= 0x1f300 and code <= 0x1faff) or (code >= 0x20000 and code <= 0x3fffd) then
    return 2
  end
  return 1
end

---Columns that a clean text of one line takes on a terminal.
---@param value string
---@return integer
function text.width(value)
  if not value:find "[\128-\255]" then return #value end
  local width = 0
  for _, code in utf8.codes(value) do width = width + width_of(code) end
  return width
end

---The text, cut to that many columns; what was cut shows as "…" (or "~" without UTF-8).
---@param value string clean, one line
---@param columns integer
---@param mark? string one column wide
---@return string
function text.cut(value, columns, mark)
  if columns <= 0 then return "" end
  if text.width(value) <= columns then return value end
  local room, last = columns - 1, 0
  for at, code in utf8.codes(value) do
    room = room - width_of(code)
    if room < 0 then break end
    last = at + #utf8.char(code) - 1
  end
  return value:sub(1, last) .. (mark or "…")
end

---The text, cut in its middle: names of one family differ at their ends.
---@param value string clean, one line
---@param columns integer
---@param mark? string one column wide
---@return string
function text.cut_middle(value, columns, mark)
  if columns < 4 or #value <= columns or value:find "[\128-\255]" then return text.cut(value, columns, mark) end
  local head = (columns - 1) // 3
  return value:sub(1, head) .. (mark or "…") .. value:sub(head + 1 - columns)
end

---@param value string
---@param columns integer
---@return string filled with spaces at its right
function text.pad(value, columns) return value .. (" "):rep(columns - text.width(value)) end

---@param items pgaf.Item[]
---@return string "packages on n1, packages on n2"
function text.places(items)
  local told = {}
  for i, item in ipairs(items) do told[i] = item.step[1] .. " on " .. item.target.name end
  return table.concat(told, ", ")
end

---A time for people: "3.2 s", "42 s", "2:05".
---@param seconds number
---@return string
function text.duration(seconds)
  if seconds < 9.95 then return ("%.1f s"):format(seconds) end
  if seconds < 99.5 then return ("%.0f s"):format(seconds) end
  if seconds < 3600 then return ("%d:%02d"):format(seconds // 60, math.floor(seconds) % 60) end
  return ("%d:%02d:%02d"):format(seconds // 3600, seconds // 60 % 60, math.floor(seconds) % 60)
end

return text
