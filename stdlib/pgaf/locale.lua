-- What the environment says of the terminal's characters.

local process = require "pgafrun.process"

local locale = {}

local ORDER = { "LC_ALL", "LC_CTYPE", "LANG" } -- the first that is set decides

---@return boolean
function locale.is_utf8()
  for _, name in ipairs(ORDER) do
    local value = process.getenv(name)
    if value and value ~= "" then return value:upper():find "UTF%-?8" ~= nil end
  end
  return false
end

return locale
