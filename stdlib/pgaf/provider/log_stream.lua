-- Lines of a log as they are written, from pieces of text as they come.

---@class pgaf.LogStream
---@field read fun(): string? the next piece, waited for; nil at the end
---@field stop fun()
local LogStream = {}
LogStream.__index = LogStream

local log_stream = {}

---@param read fun(): string?
---@param stop fun()
---@return pgaf.LogStream to be closed
function log_stream.new(read, stop)
  return setmetatable({ read = read, stop = stop, rest = "" }, LogStream)
end

---The next line, without its end; waits for it. nil when there will be no more.
---@return string?
function LogStream:next()
  while true do
    local line, rest = self.rest:match "^([^\n]*)\n(.*)$"
    if line then
      self.rest = rest
      return line
    end
    local piece = self.read()
    if not piece then break end
    self.rest = self.rest .. piece
  end
  local last = self.rest
  self.rest = ""
  return last ~= "" and last or nil
end

---Idempotent.
function LogStream:close()
  local stop = self.stop
  self.stop = function() end
  stop()
end
LogStream.__close = LogStream.close

---The last lines of a text, with their ends.
---@param text string
---@param lines integer
---@return string
function log_stream.tail(text, lines)
  if lines == 0 then return "" end
  local at = #text
  if text:sub(-1) == "\n" then at = at - 1 end
  for _ = 1, lines do
    while at > 0 and text:byte(at) ~= 10 do at = at - 1 end
    if at == 0 then return text end
    at = at - 1
  end
  return text:sub(at + 2)
end

local CLOCK = "^(%d%d):(%d%d):(%d%d) "

---When each of pg_autoctl's lines was written, whose clock tells no day: the last of them was written when the file
---was, and where the clock is later than on the line after it, that was the day before.
---@param texts string[]
---@param written number wall clock, seconds since the epoch
---@return { at: number, text: string }[]
function log_stream.dated(texts, written)
  local day = os.date("*t", math.floor(written))
  local entries, later, days, first = {}, math.huge, 0, nil
  for i = #texts, 1, -1 do
    local hour, minute, second = texts[i]:match(CLOCK)
    entries[i] = { text = texts[i] }
    if hour then
      local clock = hour * 3600 + minute * 60 + second
      if clock > later then days = days + 1 end
      later = clock
      entries[i].at = os.time {
        year = day.year, month = day.month, day = day.day - days, hour = math.tointeger(tonumber(hour)),
        min = math.tointeger(tonumber(minute)), sec = math.tointeger(tonumber(second)),
      }
      first = entries[i].at
    end
  end
  -- A line without a clock belongs to the one before it.
  local at = first or written
  for _, entry in ipairs(entries) do
    entry.at = entry.at or at
    at = entry.at
  end
  return entries
end

return log_stream
