-- A third party's apt source, trusted for its own packages alone (signed-by), its key checked by fingerprint.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local openpgp = require "pgaf.openpgp"
local process = require "pgafrun.process"
local quote = require "pgaf.quote"

local FETCH_SECONDS = 60

---@class pgaf.AptSource
---@field name string of the files
---@field url string
---@field suite string? default: the release's codename and `suffix`
---@field suffix string "-pgdg"
---@field components string[]
---@field key string path on this machine, or address that the node fetches it from
---@field fingerprint string of its one primary key

local CODENAME = { "sh", "codename", script = '. /etc/os-release && printf %s "$VERSION_CODENAME"' }

local function key_path(source) return ("/etc/apt/keyrings/%s.asc"):format(source.name) end

---The text of the .sources file.
---@param source pgaf.AptSource
---@param codename string
---@return string
local function render(source, codename)
  return ("Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n"):format(
    source.url, source.suite or codename .. source.suffix, table.concat(source.components, " "), key_path(source))
end

-- The node has sha1sum; OpenSSL's SHA-1 is on its way out, and a fingerprint is made of it all the same.
local function fingerprints(target, key)
  local found = {}
  for i, bytes in ipairs(openpgp.primary_keys(key)) do
    local output = target.node:run("base64 -d | sha1sum", { stdin = crypto.base64_encode(bytes) }).stdout
    found[i] = output:match("^%x+"):upper()
  end
  return found
end

local function check_key(target, source, key)
  local found = fingerprints(target, key)
  local wanted = source.fingerprint:upper()
  if #found == 1 and found[1] == wanted then return end
  error.raise {
    kind = "untrusted", operation = ("apt source %s on %s"):format(source.name, target.name),
    message = ("the key from %s has fingerprint %s, not %s: not used"):format(
      source.key, table.concat(found, " and "), wanted),
    hint = "was the address or the file the right one? A new key has to be put into the inventory with its fingerprint",
  }
end

local function fetch_key(target, source)
  if source.key:find("^[/~]") then
    return fs.read((source.key:gsub("^~", process.getenv("HOME") or "~")))
  end
  -- apt's own downloader: a minimal image has neither curl nor wget
  local ok, result = pcall(target.node.run, target.node, ([[
file=$(mktemp) && rm -f "$file" && /usr/lib/apt/apt-helper download-file %s "$file" >&2 && cat "$file"
status=$?; rm -f "$file"; exit $status]]):format(quote.sh(source.key)), { timeout = FETCH_SECONDS })
  if ok then return result.stdout end
  return error.raise {
    kind = "network", operation = ("apt source %s on %s"):format(source.name, target.name), cause = result,
    message = ("%s cannot fetch the signing key %s"):format(target.name, source.key),
    hint = "can the node reach it? Else copy the key here and name its path: postgres.pgdg.key = \"/path/to/KEY.asc\"",
  }
end

---@param source pgaf.AptSource
---@return pgaf.Resource
local function apt_source(source)
  local key, list = key_path(source), ("/etc/apt/sources.list.d/%s.sources"):format(source.name)
  local resource = { reads = { { "content", key }, { "file", key }, { "content", list }, CODENAME } }

  local function text(facts)
    if not facts.sh.codename and not source.suite then
      error.raise {
        kind = "missing", operation = "apt source " .. source.name,
        message = "the node's /etc/os-release has no VERSION_CODENAME", hint = "name the suite: postgres.pgdg.suite",
      }
    end
    return render(source, facts.sh.codename)
  end

  function resource:probe(target, facts)
    if not facts.content[key] then return "no key " .. key end
    check_key(target, source, facts.content[key])
    if facts.file[key].mode ~= "0644" then return ("%s has mode %s"):format(key, facts.file[key].mode) end
    if facts.content[list] ~= text(facts) then return list .. " differs" end
    return nil
  end

  function resource:apply(target, _, facts)
    local content = facts.content[key] or fetch_key(target, source)
    check_key(target, source, content)
    target.node:run("install -d -m 0755 /etc/apt/keyrings")
    target.node:push(key, content, { mode = "0644" })
    target.node:push(list, text(facts), { mode = "0644" })
    return ("trusted %s for %s"):format(source.fingerprint, source.url)
  end

  return resource
end

return setmetatable({ render = render }, { __call = function(_, source) return apt_source(source) end })
