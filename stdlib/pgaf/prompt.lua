-- Asks a person on the terminal. Meanwhile nothing is painted there.

local tty = require "pgafrun.tty"

local prompt = {}

local asking = 0

---Whether somebody is being asked right now.
---@return boolean
function prompt.is_asking() return asking > 0 end

---Waits for a line that somebody types; see pgafrun.tty.
---@param options? { prompt?: string, secret?: boolean }
---@return string? line nil at the end of the input
function prompt.read_line(options)
  -- what a report has painted goes: what takes it away is in the buffer
  io.stdout:flush()
  asking = asking + 1
  local _ <close> = setmetatable({}, { __close = function() asking = asking - 1 end })
  return tty.read_line(options)
end

return prompt
