-- Entries of pg_hba.conf: as parameters, as lines, and as a block of our own between two marks of a file that is
-- otherwise somebody else's.

local edit = require "pgaf.resource.edit"
local error = require "pgafrun.error"
local schema = require "pgaf.schema"

local hba = {}

---One entry: who may come from where, and how they prove who they are.
---@class pgaf.PgHbaEntry
---@field type "local"|"host"|"hostssl"|"hostnossl"|"hostgssenc"|"hostnogssenc"
---@field database string|string[] names, or all, sameuser, samerole, replication
---@field user string|string[] names, +group, or all
---@field address? string a network as "10.0.0.0/8", samehost, samenet, all, or a host's name; not for local
---@field method string scram-sha-256, peer, cert, reject ...
---@field options? table<string, string> such as { map = "people" }

local TYPES = { "local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc" }
local METHODS = {
  "trust", "reject", "scram-sha-256", "md5", "password", "gss", "sspi", "ident", "peer", "pam", "ldap", "radius",
  "cert", "bsd",
}

local word = schema.text { pattern = "[^%c]+", what = "a name" }
local words = schema.either("a name, or a list of names", word, schema.list(word, { min = 1 }))
local entry = schema.record {
  type = { schema.one_of(table.unpack(TYPES)), required = true },
  database = { words, required = true },
  user = { words, required = true },
  address = { schema.text { pattern = "[%w.:/_%-]+", what = "a network, a host's name, samehost, samenet or all" } },
  method = { schema.one_of(table.unpack(METHODS)), required = true },
  options = { schema.map(schema.text { pattern = "[%l_]+", what = "an option's name" }, word) },
}

-- Whom nobody reaches from another machine.
local function is_loopback(address)
  return address:find "^127%.%d+%.%d+%.%d+/%d+$" ~= nil and tonumber(address:match "/(%d+)$") >= 8 or
    address == "::1/128"
end

local function check_entry(one, path, report)
  if one.type == "local" then
    if one.address then report(path, "is local, and yet has an address") end
    return
  end
  if not one.address then
    report(path .. ".address", "is missing")
  elseif one.address:find "^[%d.]+$" or (one.address:find ":" and not one.address:find "/") then
    report(path .. ".address", ("wants the network's size: %q"):format(
      one.address .. (one.address:find ":" and "/128" or "/32")))
  elseif one.method == "trust" and not is_loopback(one.address) then
    report(path .. ".method", ("trust on %s lets in whoever reaches the port, as any role: it is refused"):format(
      one.address))
  elseif one.method == "password" and one.type ~= "hostssl" and not is_loopback(one.address) then
    report(path .. ".method", "password sends it in clear: hostssl, or better scram-sha-256")
  end
  if one.method == "peer" then report(path .. ".method", "peer is for local only") end
end

---A list of entries.
---@type pgaf.schema.Type
function hba.entries(value, path, report)
  local bad = false
  local list = schema.list(entry, { min = 1 })(value, path, function(...)
    bad = true
    report(...)
  end)
  if bad then return list end
  for i, one in ipairs(list) do check_entry(one, ("%s[%d]"):format(path, i), report) end
  return list
end

-- In quotes a keyword would be a name.
local function token(text)
  if text:find "^[%w_.+@/:%-]+$" then return text end
  return '"' .. text:gsub('"', '""') .. '"'
end

local function tokens(value)
  if type(value) ~= "table" then return token(value) end
  local list = {}
  for i, one in ipairs(value) do list[i] = token(one) end
  return table.concat(list, ",")
end

---@param one pgaf.PgHbaEntry
---@return string
function hba.line(one)
  local options = {}
  for name, value in pairs(one.options or {}) do options[#options + 1] = name .. "=" .. token(value) end
  table.sort(options)
  local line = ("%-7s %-15s %-15s %-18s %s %s"):format(one.type, tokens(one.database), tokens(one.user),
    one.address or "", one.method, table.concat(options, " "))
  return (line:gsub("%s+$", ""))
end

local function marks(name) return "# begin pgafrun: " .. name .. "\n", "# end pgafrun: " .. name .. "\n" end

---The block with its marks.
---@param name string
---@param entries pgaf.PgHbaEntry[]
---@return string
function hba.block(name, entries)
  local first, last = marks(name)
  local lines = {}
  for i, one in ipairs(entries) do lines[i] = hba.line(one) .. "\n" end
  return first .. table.concat(lines) .. last
end

---What is before the block of that name, the block with its marks (nil when there is none), and what is after it.
---Raises kind "config" where one of its marks is there without the other.
---@param text string
---@param name string
---@return string before
---@return string? block
---@return string after
function hba.split(text, name)
  local first, last = marks(name)
  local from, to, problem = edit.between(text, first:sub(1, -2), last:sub(1, -2))
  if problem then
    error.raise {
      kind = "config", operation = "pg_hba " .. name, message = "pg_hba.conf: " .. problem, hint = edit.MEND_MARKS,
    }
  end
  if not from then return text, nil, "" end
  return text:sub(1, from - 1), text:sub(from, to), text:sub(to + 1)
end

---The text with this block: where it is, or else at the place; block nil takes it away.
---@param text string
---@param name string
---@param block? string
---@param place "first"|"last"
---@return string
function hba.with_block(text, name, block, place)
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. "\n" end
  local before, now, after = hba.split(text, name)
  if now then return before .. (block or "") .. after end
  if not block then return text end
  return place == "first" and block .. text or text .. block
end

return hba
