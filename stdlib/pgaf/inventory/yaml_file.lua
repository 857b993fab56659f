-- A YAML file as Ansible reads it: it may be a vault as a whole or hold `!vault` values, and its words are those of
-- YAML 1.1, where `yes` is true and 0644 is octal.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local secret = require "pgaf.secret"
local vault = require "pgaf.vault"
local yaml = require "pgafrun.yaml"

local yaml_file = {}

local MAX_BYTES = 16 * 1024 * 1024
local OLD_BOOLEANS = { yes = true, on = true, no = false, off = false }

---@class pgaf.inventory.YamlFile
---@field path string
---@field value any nil for an empty file
---@field vaulted boolean the file is a vault as a whole: all of its texts are secrets
---@field lines table<table, table<any, integer>> of each map and list: key -> line
local YamlFile = {}
YamlFile.__index = YamlFile

local function refuse(path, line, message)
  error.raise { kind = "inventory", message = ("%s:%d: %s"):format(path, line, message), where = path .. ":" .. line }
end

-- The reader's own message begins with the line; in a vault nothing of the text may be told.
local function decode(path, text, tags, vaulted)
  local found, value, lines = pcall(yaml.decode, text, { tags = tags, lines = true })
  if found then return value, lines or {} end
  if error.is(value, "limit") then refuse(path, 1, value.message) end
  if not error.is(value, "data") then _G.error(value, 0) end
  local line, message = value.message:match("^line (%d+), column %d+: (.*)$")
  if vaulted then message = "what the vault holds is not YAML: " .. (message or "") end
  return refuse(path, tonumber(line) or 1, message or value.message)
end

local function escaped(text) return (text:gsub("%p", "%%%0")) end

-- The scalar as it was written without quotes, which only its line tells; nil where that is not clear.
local function written(source, line, key, pattern)
  local text = (source[line] or ""):gsub("%s#.*$", "")
  if type(key) == "string" then
    local found = text:match("%f[^%s{,]" .. escaped(key) .. "%s*:%s+([^%s,%]}]+)")
    if found then return found:match("^" .. pattern .. "$") end
  end
  return text:match("[%s%[,](" .. pattern .. ")%f[%s,%]}%z]")
end

-- YAML 1.1: yes, no, on, off are booleans; an integer that begins with 0 is octal.
local function as_old(value, source, line, key)
  local truth
  if type(value) == "string" then truth = OLD_BOOLEANS[value:lower()] end
  if type(truth) == "boolean" and written(source, line, key, value) then return truth end
  if math.type(value) == "integer" then
    local digits = written(source, line, key, "0" .. value)
    if digits and value > 0 and digits:find("^0[0-7]+$") then return tonumber(digits, 8) end
  end
  return value
end

local function walk(self, source, node, seen)
  if seen[node] then return end
  seen[node] = true
  local changed = {}
  for key, value in pairs(node) do
    local line = self.lines[node] and self.lines[node][key] or 1
    if type(value) == "table" and not secret.is(value) then
      walk(self, source, value, seen)
    else
      changed[key] = as_old(value, source, line, key)
    end
  end
  for key, value in pairs(changed) do node[key] = value end
end

-- Secret -> its text, for those of files that are vaults as a whole.
local plain_texts = setmetatable({}, { __mode = "k" })

-- In a vault every text is a secret, also the harmless ones: nobody can tell.
local function hide_texts(self, node, seen)
  if seen[node] then return end
  seen[node] = true
  local hidden = {}
  for key, value in pairs(node) do
    if type(value) == "string" and value ~= "" then
      hidden[key] = secret.from(("vault %s:%d"):format(self.path, self:line(node, key)), function() return value end)
      plain_texts[hidden[key]] = value
    elseif type(value) == "table" and not secret.is(value) then
      hide_texts(self, value, seen)
    end
  end
  for key, value in pairs(hidden) do node[key] = value end
end

---The text of a secret that came from a file that is a vault as a whole, which is not a secret because of that alone.
---@param value pgaf.Secret
---@return string?
function yaml_file.plain(value) return plain_texts[value] end

local function split_lines(text)
  local list = {}
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do list[#list + 1] = line end
  return list
end

---Parses a text. `keys` opens vaults; those of `!vault` values only when they are revealed.
---Raises kind "inventory" with file and line, kind "secret" for a vault that cannot be opened.
---@param path string for messages
---@param text string
---@param keys? pgaf.vault.Keys default: the run's
---@return pgaf.inventory.YamlFile
function yaml_file.parse(path, text, keys)
  local self = setmetatable({ path = path, vaulted = vault.is(text), secrets = {} }, YamlFile)
  if self.vaulted then text = (keys or vault.current()):decrypt(text, path .. ":1") end
  local function encrypted(value, line)
    local where = ("%s:%d"):format(path, line)
    vault.parse(value, where)
    local made = secret.from("vault " .. where, function() return (keys or vault.current()):decrypt(value, where) end)
    self.secrets[#self.secrets + 1] = { secret = made, where = where }
    return made
  end
  local function as_it_is(value) return value end
  local tags = { ["!vault"] = encrypted, ["!vault-encrypted"] = encrypted, ["!unsafe"] = as_it_is }
  self.value, self.lines = decode(path, text, tags, self.vaulted)
  if type(self.value) == "table" and not secret.is(self.value) then
    walk(self, split_lines(text), self.value, {})
    if self.vaulted then hide_texts(self, self.value, {}) end
  end
  return self
end

---@param path string
---@param keys? pgaf.vault.Keys
---@return pgaf.inventory.YamlFile
function yaml_file.read(path, keys)
  return yaml_file.parse(path, fs.read(path, { max_bytes = MAX_BYTES }), keys)
end

---The line of a key of one of the file's maps and lists.
---@param node table
---@param key any
---@return integer
function YamlFile:line(node, key)
  return self.lines[node] and self.lines[node][key] or 1
end

---Keys of a map in the order in which they were written.
---@param node table
---@return any[]
function YamlFile:keys(node)
  local keys, lines = {}, self.lines[node] or {}
  for key in pairs(node) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    local first, second = lines[a] or 0, lines[b] or 0
    if first ~= second then return first < second end
    return tostring(a) < tostring(b)
  end)
  return keys
end

---One value of a vault file, for pgaf.secret.
---@param path string
---@param key string "name" or "name.inner"
---@return string
function yaml_file.secret(path, key)
  local file = yaml_file.read(path)
  local value = file.value
  for name in key:gmatch("[^.]+") do
    value = type(value) == "table" and not secret.is(value) and value[name] or nil
  end
  if secret.is(value) then return secret.reveal(value) end
  if file.vaulted and type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    error.raise {
      kind = "secret", operation = "secret.reveal", code = "missing",
      message = ("the vault %s has no text under the key %q"):format(path, key),
    }
  end
  return error.raise {
    kind = "secret", operation = "secret.reveal", code = "literal",
    message = ("%s: %q is not encrypted there"):format(path, key), hint = "ansible-vault encrypt " .. path,
  }
end

return yaml_file
