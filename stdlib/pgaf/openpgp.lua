-- Just enough of OpenPGP (RFC 4880) to tell whose key a file holds: the fingerprints of its primary keys.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"

local openpgp = {}

local PUBLIC_KEY = 6

local function refuse(message)
  error.raise { kind = "data", operation = "openpgp", code = "openpgp", message = message }
end

-- Armour off: the base64 lines between the head's empty line and the checksum.
local function binary(text)
  if not text:find("-----BEGIN PGP PUBLIC KEY BLOCK-----", 1, true) then return text end
  local body = text:gsub("\r", ""):match("%-%-%-%-%-BEGIN PGP PUBLIC KEY BLOCK%-%-%-%-%-.-\n\n(.-)\n%-%-%-%-%-END")
  if not body then refuse("the key's armour is broken off") end
  return crypto.base64_decode((body:gsub("\n=[%w+/=]+%s*$", "")))
end

-- Tag, start and length of the packet at `at`.
local function packet(data, at)
  local head = data:byte(at)
  if head & 0x80 == 0 then refuse("this is no OpenPGP key") end
  if head & 0x40 == 0 then
    local width = ({ [0] = 1, 2, 4 })[head & 3] or refuse("a packet of unknown length")
    return head >> 2 & 15, at + 1 + width, (">I" .. width):unpack(data, at + 1)
  end
  local first = data:byte(at + 1)
  if first < 192 then return head & 63, at + 2, first end
  if first < 224 then return head & 63, at + 3, ((first - 192) << 8) + data:byte(at + 2) + 192 end
  if first < 255 then refuse("a packet of partial length") end
  return head & 63, at + 6, (">I4"):unpack(data, at + 2)
end

---What is to be hashed with SHA-1 for the fingerprint of each primary key in the file.
---@param text string armoured or binary
---@return string[]
function openpgp.primary_keys(text)
  local data = binary(text)
  local keys, at = {}, 1
  local ok = pcall(function()
    while at <= #data do
      local tag, start, length = packet(data, at)
      if start + length - 1 > #data then refuse("the key is broken off") end
      if tag == PUBLIC_KEY then
        local body = data:sub(start, start + length - 1)
        if body:byte(1) ~= 4 then refuse("a key of another version than 4") end
        keys[#keys + 1] = (">B I2"):pack(0x99, length) .. body
      end
      at = start + length
    end
  end)
  if not ok or #keys == 0 then refuse("this is no OpenPGP public key") end
  return keys
end

return openpgp
