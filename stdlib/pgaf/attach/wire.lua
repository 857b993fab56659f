-- What two pgafruns say to each other over a unix socket: JSON, one message a line.
--
--   the run says                              who attached says
--     { type = "hello", ... }                   { type = "line", text = "..." }       an answer to a prompt
--     { type = "refused", message = "..." }     { type = "interrupt" }                stop what is being evaluated
--     { type = "output", text = "..." }         { type = "columns", columns = 120 }   the terminal's width
--     { type = "prompt", text = "...", failed = false }   the input before ended with an error
--     { type = "completion", text, replaced, above }     { type = "complete", text = "..." }   somebody pressed Tab
--     { type = "bye", message = "..." }

local error = require "pgafrun.error"
local json = require "pgafrun.json"

local wire = {}

wire.PROTOCOL = 1

local LINE_BYTES = 4 * 1024 * 1024

---@class pgaf.attach.Wire
---@field connection pgafrun.net.Connection
local Wire = {}
Wire.__index = Wire

---@param connection pgafrun.net.Connection
---@return pgaf.attach.Wire
function wire.new(connection) return setmetatable({ connection = connection, rest = "" }, Wire) end

-- JSON has no bytes that are not UTF-8.
local function utf8_only(text)
  while true do
    local length, bad = utf8.len(text)
    if length then return text end
    text = text:sub(1, bad - 1) .. "\u{fffd}" .. text:sub(bad + 1)
  end
end

---@param message table
---@return string
function wire.encode(message)
  local clean = {}
  for name, value in pairs(message) do clean[name] = type(value) == "string" and utf8_only(value) or value end
  return json.encode(clean) .. "\n"
end

---@param message table
function Wire:send(message) self.connection:write(wire.encode(message)) end

---@return table? message nil at the end
function Wire:receive()
  local parts, size = { self.rest }, #self.rest
  local stop = self.rest:find("\n", 1, true)
  while not stop do
    local bytes = self.connection:read()
    if not bytes then return nil end
    parts[#parts + 1], size = bytes, size + #bytes
    if size > LINE_BYTES then
      error.raise { kind = "limit", operation = "attach", message = "a message of more than 4 MiB came" }
    end
    if bytes:find("\n", 1, true) then
      parts = { table.concat(parts) }
      stop = parts[1]:find("\n", 1, true)
    end
  end
  local text = parts[1]
  self.rest = text:sub(stop + 1)
  local message = json.decode(text:sub(1, stop - 1))
  if type(message) ~= "table" or type(message.type) ~= "string" then
    error.raise { kind = "protocol", operation = "attach", message = "what came is no message" }
  end
  return message
end

return wire
