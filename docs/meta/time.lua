---@meta pgafrun.time
local time = {}

---Monotonic seconds (fractional, nanosecond source): the one clock of all measurements, deadlines and events.
---@return number
function time.now() end

---Wall clock, seconds since the epoch (fractional). For people and files, never for measuring.
---@return number
function time.wall() end

---ISO 8601 in UTC with milliseconds: "2025-03-01T12:34:56.789Z".
---@param wall? number default time.wall()
---@return string
function time.iso(wall) end

return time
