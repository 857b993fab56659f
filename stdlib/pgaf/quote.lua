-- Text made safe for where it goes. What is made of a secret is a secret.

local secret = require "pgaf.secret"

local quote = {}

-- Names the place that asked: that is where the value is missing.
local function refuse(name, value)
  error(("quote.%s wants a text, not %s"):format(name, value == nil and "nil" or "a " .. type(value)), 3)
end

---For a POSIX shell: one word.
---@param text string|pgaf.Secret
---@return string|pgaf.Secret
function quote.sh(text)
  if secret.is(text) then return secret.changed(text, quote.sh) end
  if type(text) ~= "string" then refuse("sh", text) end
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
---@param value string|number|boolean|pgaf.Secret
---@return string|pgaf.Secret
function quote.conf(value)
  if secret.is(value) then return secret.changed(value, quote.conf) end
  if type(value) == "boolean" then return value and "on" or "off" end
  if type(value) == "number" then return (tostring(value):gsub("%.0$", "")) end
  if type(value) ~= "string" then refuse("conf", value) end
  return "'" .. value:gsub("'", "''"):gsub("\\", "\\\\") .. "'"
end

---A field of a .pgpass line.
---@param text string|pgaf.Secret
---@return string|pgaf.Secret
function quote.pgpass(text)
  if secret.is(text) then return secret.changed(text, quote.pgpass) end
  if type(text) ~= "string" then refuse("pgpass", text) end
  return (text:gsub("[\\:]", "\\%0"))
end

return quote
