-- Ansible's vault: formats 1.1 and 1.2 with the cipher AES256. Reading only; the cryptography is libcrypto's.
--
-- A vault text is a header line and hexadecimal digits, which are again three lines of hexadecimal digits: salt, HMAC,
-- encrypted data. PBKDF2-HMAC-SHA-256 (10000 iterations) makes of password and salt the key of AES-256-CTR, the key of
-- the HMAC-SHA-256 over the encrypted data, and the first counter block. The HMAC is compared before anything is
-- decrypted, so a wrong password is never mistaken for a text.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local prompt = require "pgaf.prompt"
local secret = require "pgaf.secret"

local vault = {}

local ITERATIONS = 10000
local KEY, BLOCK = 32, 16
local EXECUTABLE, WRITABLE_BY_OTHERS = tonumber("111", 8), tonumber("022", 8)
local MAX_BYTES = 4 * 1024 * 1024
local HOWTO = "--vault-password-file FILE (a program that prints it, when it is executable), --ask-vault-pass, or " ..
  "ANSIBLE_VAULT_PASSWORD_FILE"

local function refuse(code, message, hint)
  error.raise { kind = "secret", operation = "vault.decrypt", code = code, message = message, hint = hint }
end

local function prefix(where) return where and where .. ": " or "" end

---@param text string
---@return boolean
function vault.is(text) return text:find("^%s*%$ANSIBLE_VAULT") ~= nil end

local function from_hex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

---@class pgaf.vault.Envelope
---@field id string? the label of format 1.2
---@field salt string
---@field mac string
---@field data string encrypted

-- Raises code "format" for what was never a vault text, or is no longer one.
local function check_header(line, where)
  local version, rest = line:match("^%$ANSIBLE_VAULT;([^;]*);(.*)$")
  local cipher, id = (rest or ""):match("^([^;]*);?([^;]*)$")
  if not cipher or cipher == "" then
    refuse("format", prefix(where) .. "the vault's first line is not $ANSIBLE_VAULT;VERSION;CIPHER[;ID]")
  end
  if version ~= "1.1" and version ~= "1.2" then
    refuse("format", ("%sa vault of format %q: only 1.1 and 1.2 can be read"):format(prefix(where), version),
      "ansible-vault rekey writes it in a newer one")
  end
  if cipher ~= "AES256" then
    refuse("format", ("%sa vault with the cipher %q: only AES256 can be read"):format(prefix(where), cipher),
      "ansible-vault rekey writes it with AES256")
  end
  return id ~= "" and id or nil
end

---Takes a vault text apart; no password is needed for that. Raises kind "secret", code "format".
---@param text string
---@param where? string "FILE:LINE" for messages
---@return pgaf.vault.Envelope
function vault.parse(text, where)
  if #text > MAX_BYTES then refuse("format", prefix(where) .. "a vault of more than 4 MiB") end
  local header, body = text:match("^%s*([^\r\n]*)\r?\n?(.*)$")
  local id = check_header(header:match("^(.-)%s*$"), where)
  local digits = body:gsub("%s+", "")
  local cut = prefix(where) .. "the vault is cut short: "
  if digits == "" then refuse("format", cut .. "nothing follows its first line") end
  if digits:find("%X") then
    refuse("format", prefix(where) .. "the vault has characters that are no hexadecimal digits")
  end
  if #digits % 2 ~= 0 then refuse("format", cut .. "it has an odd number of hexadecimal digits") end
  local salt, mac, data = from_hex(digits):match("^(%x+)\n(%x+)\n(%x*)$")
  if not salt then refuse("format", cut .. "it does not hold salt, HMAC and data") end
  if #salt % 2 ~= 0 or #mac ~= 64 or #data == 0 or #data % (2 * BLOCK) ~= 0 then
    refuse("format", cut .. "its salt, HMAC or data are not of their length")
  end
  return { id = id, salt = from_hex(salt), mac = from_hex(mac), data = from_hex(data) }
end

-- nil when the password is not the one (or the text was changed: nobody can tell which).
local function open_with(envelope, password, where)
  local derived = crypto.pbkdf2_sha256(password, envelope.salt, ITERATIONS, 2 * KEY + BLOCK)
  local mac = crypto.hmac_sha256(derived:sub(KEY + 1, 2 * KEY), envelope.data)
  if not crypto.equal(mac, envelope.mac) then return nil end
  local plain = crypto.aes256_ctr(derived:sub(1, KEY), derived:sub(2 * KEY + 1), envelope.data)
  local padding = plain:byte(-1)
  if padding < 1 or padding > BLOCK or plain:sub(-padding) ~= string.char(padding):rep(padding) then
    refuse("format", prefix(where) .. "the vault's last block is not padded as it must be")
  end
  return plain:sub(1, -padding - 1)
end

local function wrong_password(where, tried)
  refuse("password", ("%sthe vault password (%s) does not open it, or the vault was changed since it was made: its " ..
    "HMAC does not match"):format(prefix(where), tried))
end

---Decrypts with one password. Raises kind "secret": code "format", or "password" when it is not the one.
---@param text string
---@param password string
---@param where? string "FILE:LINE" for messages
---@return string
function vault.decrypt(text, password, where)
  return open_with(vault.parse(text, where), password, where) or wrong_password(where, "given by the script")
end

-- --- where passwords come from ---

local function trimmed(text) return text:match("^%s*(.-)%s*$") end

local function ask(id)
  local line = prompt.read_line {
    prompt = id and ("Vault password (%s): "):format(id) or "Vault password: ", secret = true,
  }
  if not line then
    refuse("no_password", "nobody could be asked for the vault password: there is no terminal", HOWTO)
  end
  return line
end

-- As Ansible: an executable file is a program that prints it; one called *-client is told which id is wanted.
local function from_file(path, id)
  if path:find("^~/") then path = (process.getenv "HOME" or "") .. path:sub(2) end
  local found, real = pcall(fs.realpath, path)
  if not found then
    error.raise {
      kind = "secret", operation = "vault.decrypt", code = "no_password", cause = real, hint = HOWTO,
      message = ("the vault password file %s cannot be read"):format(path),
    }
  end
  local mode = fs.stat(real).mode
  if mode & EXECUTABLE == 0 then return secret.reveal(secret.file(real)) end
  if mode & WRITABLE_BY_OTHERS ~= 0 then
    refuse("permissions", ("the program %s, which prints the vault password, may be changed by others (mode %04o)")
      :format(path, mode), "chmod go-w " .. path)
  end
  local command = { real }
  if id and real:match("([^/]*)$"):gsub("%.[^.]*$", ""):find("%-client$") then command = { real, "--vault-id", id } end
  return secret.reveal(secret.command(command))
end

-- "LABEL@SOURCE" or just "SOURCE", which is a path or "prompt".
local function source_of(text)
  local id, place = text:match("^([^@/]+)@(.+)$")
  if not id then place = text end
  return { id = id, place = place, name = place == "prompt" and "asked for" or "of " .. place }
end

---@class pgaf.vault.Options
---@field files? string[] password files
---@field ids? string[] "LABEL@FILE" or "LABEL@prompt"
---@field ask? boolean ask on the terminal

---The passwords of a run: fetched when the first vault is opened, kept as secrets.
---@class pgaf.vault.Keys
local Keys = {}
Keys.__index = Keys

---@param options? pgaf.vault.Options
---@return pgaf.vault.Keys
function vault.keys(options)
  options = options or {}
  local sources = {}
  for _, text in ipairs(options.ids or {}) do sources[#sources + 1] = source_of(text) end
  for _, path in ipairs(options.files or {}) do sources[#sources + 1] = { place = path, name = "of " .. path } end
  if options.ask then sources[#sources + 1] = source_of "prompt" end
  if #sources == 0 then
    for text in (process.getenv "ANSIBLE_VAULT_IDENTITY_LIST" or ""):gmatch("[^,]+") do
      sources[#sources + 1] = source_of(trimmed(text))
    end
    local path = process.getenv "ANSIBLE_VAULT_PASSWORD_FILE"
    if path and path ~= "" then sources[#sources + 1] = { place = path, name = "of " .. path } end
  end
  return setmetatable({ sources = sources }, Keys)
end

---Is there a source of passwords at all?
---@return boolean
function Keys:known() return #self.sources > 0 end

-- A secret fetches once, also where several tasks open a vault side by side: nobody is asked twice.
local function password_of(source)
  source.secret = source.secret or secret.from("the vault password " .. source.name, function()
    local text = trimmed(source.place == "prompt" and ask(source.id) or from_file(source.place, source.id))
    if text == "" then refuse("no_password", ("the vault password %s is empty"):format(source.name)) end
    return text
  end)
  return secret.reveal(source.secret)
end

---Decrypts with the password of the vault's id, then with each of the others, as Ansible does. Raises kind "secret":
---code "format", "password", or "no_password" when there is none at all.
---@param text string
---@param where? string "FILE:LINE" for messages
---@return string
function Keys:decrypt(text, where)
  local envelope = vault.parse(text, where)
  if not self:known() then
    refuse("no_password", prefix(where) .. "a vault, and nobody said where its password is", HOWTO)
  end
  local order, tried = {}, {}
  for _, source in ipairs(self.sources) do
    table.insert(order, (envelope.id and source.id == envelope.id) and 1 or #order + 1, source)
  end
  for i, source in ipairs(order) do
    local plain = open_with(envelope, password_of(source), where)
    if plain then return plain end
    tried[i] = source.name
  end
  return wrong_password(where, table.concat(tried, ", "))
end

local current

---Says where this run's vault passwords come from; secret.vault and inventories use them.
---@param options? pgaf.vault.Options
---@return pgaf.vault.Keys
function vault.use(options)
  current = vault.keys(options)
  return current
end

---The run's passwords; those that the environment names, when nothing was said.
---@return pgaf.vault.Keys
function vault.current()
  current = current or vault.keys()
  return current
end

return vault
