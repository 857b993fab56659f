-- What somebody typed, by names: "q", "up", "enter". Terminals send several bytes for a key, and several keys at once.

local keys = {}

local SINGLE = {
  ["\r"] = "enter", ["\n"] = "enter", ["\t"] = "tab", ["\12"] = "redraw", ["\127"] = "backspace", ["\8"] = "backspace",
  ["\4"] = "q",
}
local SEQUENCES = {
  A = "up", B = "down", C = "right", D = "left", H = "home", F = "end", ["1~"] = "home", ["4~"] = "end",
  ["5~"] = "pageup", ["6~"] = "pagedown",
}

---@param bytes string
---@return string[] names characters as they are; sequences that mean nothing here are left out
function keys.read(bytes)
  local found, at = {}, 1
  while at <= #bytes do
    -- CSI or SS3, parameters, a letter or ~
    local sequence, last = bytes:match("^\27[%[O]([%d;]*[%a~])()", at)
    if sequence then
      -- with a modifier the parameters are "1;5": the key is the same
      found[#found + 1] = SEQUENCES[sequence] or SEQUENCES[sequence:match "%a$" or ""]
      at = last
    elseif bytes:sub(at, at) == "\27" then
      found[#found + 1] = "escape"
      at = at + 1
    else
      local c = bytes:match("^[%z\1-\127\194-\253][\128-\191]*", at) or bytes:sub(at, at)
      found[#found + 1] = SINGLE[c] or not c:find "%c" and c or nil
      at = at + #c
    end
  end
  return found
end

return keys
