-- A secret: a value that shows itself to nobody who has not asked for it by secret.reveal.
--
--     password = secret.env "APP_PASSWORD"                          an environment variable
--     password = secret.file "/etc/pgafrun/app-password"            a file that only its owner can read
--     password = secret.command { "pass", "show", "pg/app" }        what a program prints
--     password = secret.vault { file = "vault.yml", key = "app" }   a value of an Ansible vault file
--
-- tostring, JSON, the log and the report show "<secret>"; what is joined to it (`"password=" .. password`) is a secret
-- again. The value is fetched when it is first revealed and kept out of the object, which therefore may be printed and
-- walked through. What was revealed is also masked in texts that come from elsewhere, such as the error message of a
-- server (secret.mask).

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local mask = require "pgafrun.mask"
local process = require "pgafrun.process"
local task = require "pgafrun.task"

local secret = {}

---@class pgaf.Secret

local SHOWN = "<secret>"
local READABLE_BY_OTHERS = tonumber("066", 8)
local COMMAND_SECONDS = 60
local COMMAND_BYTES = 64 * 1024

-- Secret -> { source, fetch, value }. Weak, and private to this file.
local entries = setmetatable({}, { __mode = "k" })

local Secret = {
  __name = "secret",
  __metatable = "secret",
  __tostring = function() return SHOWN end,
  __tojson = function() return SHOWN end,
}

local function refuse(code, message, hint)
  error.raise { kind = "secret", operation = "secret.reveal", code = code, message = message, hint = hint }
end

local function new(entry)
  local object = setmetatable({}, Secret)
  entries[object] = entry
  return object
end

-- A part of a joined text, as it is once it is revealed.
local function part(value)
  local kind = type(value)
  if entries[value] or kind == "string" or kind == "number" then return value end
  return _G.error(("a secret is joined to a %s, which is no text"):format(kind), 3)
end

function Secret.__concat(a, b)
  local left, right = part(a), part(b)
  return new {
    source = entries[a] and entries[a].source or entries[b].source,
    fetch = function()
      return (entries[left] and secret.reveal(left) or left) .. (entries[right] and secret.reveal(right) or right)
    end,
  }
end

local function checked_text(value, what)
  if type(value) ~= "string" or value == "" then
    local got = value == "" and "an empty one" or type(value)
    _G.error(("%s must be a string that is not empty, not %s"):format(what, got), 3)
  end
  return value
end

-- The forms in which the value turns up in other texts: as it is, in a URI, in an SQL literal.
local function hide(value)
  mask.add(value)
  mask.add((value:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end)))
  mask.add((value:gsub("'", "''")))
end

-- Editors and echo end a text with a line break that is no part of it.
local function without_line_break(text) return (text:gsub("\r?\n$", "")) end

---The value of an environment variable of pgafrun.
---@param name string
---@return pgaf.Secret
function secret.env(name)
  checked_text(name, "the name of the variable")
  return new {
    source = "environment variable " .. name,
    fetch = function()
      local value = process.getenv(name)
      if not value then
        refuse("missing", ("the environment variable %s is not set"):format(name), ("export %s=..."):format(name))
      end
      return value
    end,
  }
end

---The content of a file, less one line break at its end. A file that others may read or write is refused.
---@param path string
---@return pgaf.Secret
function secret.file(path)
  checked_text(path, "the path")
  return new {
    source = "file " .. path,
    fetch = function()
      local real = fs.realpath(path)
      local found = fs.stat(real)
      if not found or found.type ~= "file" then refuse("type", ("%s is not a file"):format(path)) end
      if found.mode & READABLE_BY_OTHERS ~= 0 then
        refuse("permissions", ("the file %s is open to others than its owner (mode %04o)"):format(path, found.mode),
          ("chmod 600 %s, and change the secret if others may have read it"):format(path))
      end
      local uid = process.self().uid
      if found.uid ~= uid and found.uid ~= 0 then
        refuse("owner", ("the file %s belongs to user %d, neither to us (%d) nor to root"):format(path, found.uid, uid))
      end
      return without_line_break(fs.read(real, { max_bytes = COMMAND_BYTES }))
    end,
  }
end

---What a program prints, less one line break at its end. It has no terminal to ask on.
---@param argv string[]
---@return pgaf.Secret
function secret.command(argv)
  if type(argv) ~= "table" then _G.error("the command must be a list: secret.command { program, argument ... }", 2) end
  local options = { timeout = COMMAND_SECONDS, max_bytes = COMMAND_BYTES }
  for i, argument in ipairs(argv) do options[i] = argument end
  local program = checked_text(argv[1], "the program")
  return new {
    source = "command " .. program,
    fetch = function()
      local result = process.run(options)
      if result.code ~= 0 then
        local how = result.code and "exited with " .. result.code or "was ended by signal " .. result.signal
        refuse("command", ("the command %s, which should print a secret, %s: %s"):format(program, how,
          result.stderr:match "[^\n]*"))
      end
      return without_line_break(result.stdout)
    end,
  }
end

---A value that a function fetches when it is first wanted; it may wait.
---@param source string where it comes from, for people
---@param fetch fun(): string
---@return pgaf.Secret
function secret.from(source, fetch)
  return new { source = checked_text(source, "the source"), fetch = fetch }
end

-- The folder of the script or inventory that called.
local function folder_of_caller(level)
  return debug.getinfo(level + 1, "S").source:match("^@(.*/)") or ""
end

---A value of a YAML file that ansible-vault encrypted, whole or in part. The vault's password is that of the run:
---pgafrun's --vault-password-file or --ask-vault-pass, or ANSIBLE_VAULT_PASSWORD_FILE.
---@param options { file: string, key: string } file: relative to the script; key: "name" or "name.inner"
---@return pgaf.Secret
function secret.vault(options)
  if type(options) ~= "table" then _G.error("secret.vault { file = PATH, key = NAME }", 2) end
  local file, key = checked_text(options.file, "the file"), checked_text(options.key, "the key")
  if not file:find("^/") then file = folder_of_caller(2) .. file end
  return new {
    source = ("%s in the vault %s"):format(key, file),
    fetch = function() return require("pgaf.inventory.yaml_file").secret(file, key) end,
  }
end

---A value that the script has at hand, such as one that it generated.
---@param text string
---@return pgaf.Secret
function secret.value(text)
  hide(checked_text(text, "the value"))
  return new { source = "value", value = text }
end

---A new random value of 32 hexadecimal digits.
---@return pgaf.Secret
function secret.random() return secret.value(crypto.random_hex(16)) end

---A value written in a script or an inventory: refused unless it is said to be for a lab.
---@param text string
---@param lab boolean
---@return pgaf.Secret
function secret.literal(text, lab)
  checked_text(text, "the value")
  if lab ~= true then
    error.raise {
      kind = "secret", operation = "secret.literal", code = "literal",
      message = "a secret is written out where it can be read",
      hint = "use secret.env, secret.file or secret.command; only a lab may have it in its inventory",
    }
  end
  hide(text)
  return new { source = "literal", value = text }
end

---What a function makes of the value, such as quote.conf: a secret again, worked out when it is revealed.
---@param object pgaf.Secret
---@param change fun(value: string): string
---@return pgaf.Secret
function secret.changed(object, change)
  return new {
    source = secret.source(object),
    fetch = function() return change(secret.reveal(object)) end,
  }
end

---Whether a secret was shown into this text (tostring, string.format), which has its mask and not its value.
---@param text string
---@return boolean
function secret.is_shown_in(text) return text:find(SHOWN, 1, true) ~= nil end

---@param value any
---@return boolean
function secret.is(value) return entries[value] ~= nil end

local function entry_of(object)
  return entries[object] or _G.error(("a secret expected, got %s"):format(type(object)), 3)
end

---Where the value comes from, for people: "environment variable APP_PASSWORD".
---@param object pgaf.Secret
---@return string
function secret.source(object) return entry_of(object).source end

-- Several tasks may want it at once; one fetches it, the others wait.
local function fetch(entry)
  while entry.fetching do entry.fetching:wait() end
  if entry.value then return end
  local fetching = task.condition()
  entry.fetching = fetching
  local _ <close> = setmetatable({}, {
    __close = function()
      entry.fetching = nil
      fetching:notify()
    end,
  })
  local value = entry.fetch()
  if value == "" then refuse("empty", ("the secret from %s is empty"):format(entry.source)) end
  hide(value)
  entry.value = value
end

---The value. Waits at the first time; raises kind "secret" (code "missing", "permissions", "owner", "type", "command",
---"empty"), "file" or "process" when it cannot be had. Keep it in a local variable for as short as can be.
---@param object pgaf.Secret
---@return string
function secret.reveal(object)
  local entry = entry_of(object)
  if not entry.value then fetch(entry) end
  return entry.value
end

---The text with every value that was revealed so far replaced by "<secret>", also where it is percent-encoded or quoted
---for SQL. Values of fewer than 6 characters stay. Errors and the log do this by themselves.
---@param text string
---@return string
function secret.mask(text) return mask.apply(text) end

return secret
