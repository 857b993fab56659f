-- Text made safe for where it goes.

local quote = {}

---For a POSIX shell: one word.
---@param text string
---@return string
function quote.sh(text)
  if text:find("^[%w_./:=@%%+-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

---Several words.
---@param list string[]
---@return string
function quote.sh_list(list)
  local words = {}
  for i, text in ipairs(list) do words[i] = quote.sh(text) end
  return table.concat(words, " ")
end

---A value in a PostgreSQL configuration file.
---@param value string|number|boolean
---@return string
function quote.conf(value)
  if type(value) == "boolean" then return value and "on" or "off" end
  if type(value) == "number" then return (tostring(value):gsub("%.0$", "")) end
  return "'" .. value:gsub("'", "''"):gsub("\\", "\\\\") .. "'"
end

---A field of a .pgpass line.
---@param text string
---@return string
function quote.pgpass(text) return (text:gsub("[\\:]", "\\%0")) end

return quote
