-- Values as an inventory of ours wants them: Ansible's users write 15, "15" and 15s, and lists as "a, b".

local json = require "pgafrun.json"
local layers = require "pgaf.inventory.layers"
local secret = require "pgaf.secret"
local yaml_file = require "pgaf.inventory.yaml_file"

local convert = {}

local UNITS = { us = 0.001, ms = 1, s = 1000, min = 60000, h = 3600000 }
local TRUTH = { yes = true, on = true, ["true"] = true, no = false, off = false, ["false"] = false }
-- Settings that are keys of their own.
local OWN_SETTINGS = {
  shared_buffers = true, wal_keep_size = true, max_slot_wal_keep_size = true, wal_retrieve_retry_interval = true,
}

local function integer(value)
  if type(value) == "string" and value:find("^%s*[-+]?%d+%s*$") then return math.tointeger(tonumber(value)) end
  return type(value) == "number" and math.tointeger(value) or value
end

local function boolean(value)
  if type(value) == "string" and TRUTH[value:lower()] ~= nil then return TRUTH[value:lower()] end
  return value
end

local function text(value)
  if type(value) == "number" then return tostring(value) end
  return value
end

local function milliseconds(value)
  if type(value) ~= "string" then return integer(value) end
  local number, unit = value:match("^%s*(%d+%.?%d*)%s*(%a*)%s*$")
  local factor = number and (unit == "" and 1 or UNITS[unit])
  return factor and math.tointeger(tonumber(number) * factor) or value
end

local function seconds(value)
  if type(value) ~= "string" or not value:find("%a") then return integer(value) end
  local ms = milliseconds(value)
  return math.type(ms) and ms % 1000 == 0 and ms // 1000 or value
end

-- YAML lists, JSON's and those of one text with commas between.
local function list(value)
  if type(value) == "string" then
    local parts = {}
    for part in value:gmatch("[^,%s]+") do parts[#parts + 1] = part end
    return parts
  end
  return value
end

-- A map of settings, or the list of { option/name =, value = } that roles like to take.
local function settings(value)
  if type(value) ~= "table" then return value end
  local map, own = {}, {}
  local function put(name, one)
    if secret.is(one) then one = yaml_file.plain(one) or secret.reveal(one) end
    if one ~= json.null then (OWN_SETTINGS[name] and own or map)[name] = one end
  end
  if layers.is_map(value) then
    for name, one in pairs(value) do put(name, one) end
  else
    for _, item in ipairs(value) do
      local name = type(item) == "table" and (item.option or item.name or item.key)
      if type(name) ~= "string" then return value end
      put(name, item.value)
    end
  end
  return map, own
end

local KINDS = {
  integer = integer, boolean = boolean, text = text, milliseconds = milliseconds, seconds = seconds, list = list,
  settings = settings,
  environment = function(value)
    if type(value) ~= "string" then return value end
    local word = value:lower()
    return (word == "prod" or word == "live") and "production" or (word == "stage" or word == "stg") and "staging" or
      (word == "dev" or word == "test") and "lab" or word
  end,
  cpu = function(value) return integer(value) end,
  map = function(value) return value end,
  secret = function(value) return type(value) == "number" and tostring(value) or value end,
  source = function(value)
    value = boolean(value)
    if type(value) == "boolean" then return value and "pgdg" or "distribution" end
    return value
  end,
}

---@param kind string as pgaf.inventory.ansible.names says
---@param value any
---@return any value what cannot be brought to the type is left for the schema to refuse
---@return table<string, any>? own of "settings": those that are keys beside `settings`
function convert.to(kind, value)
  if kind ~= "secret" and secret.is(value) then
    -- not secret just because the file's other values are
    value = yaml_file.plain(value) or secret.reveal(value)
  end
  return KINDS[kind](value)
end

return convert
