-- A third party's apt source, trusted for its own packages alone (signed-by), its key checked by fingerprint.
--
--     resource.apt_source {
--       name = "example", url = "https://packages.example.org/debian", suite = "stable", components = { "main" },
--       key = "keys/example.asc", fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567",
--     }
--
-- The key may be an address: then the node fetches it, and it is used only if it has that fingerprint.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local files = require "pgaf.resource.files"
local fs = require "pgafrun.fs"
local openpgp = require "pgaf.openpgp"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

local FETCH_SECONDS = 60

---@class pgaf.AptSourceOptions
---@field name string of its files
---@field url? string
---@field suite? string default: the release's codename, and `suffix` after it
---@field suffix? string "-pgdg", default ""
---@field components? string[] default { "main" }
---@field architectures? string[] default: all that the node has
---@field key? string the signing key, armoured: a file on this machine (a relative name is looked up beside the
---script), or an address that the node fetches it from
---@field fingerprint? string of the key's one primary key, 40 hexadecimal digits
---@field state? "present"|"absent" default "present"

---@alias pgaf.AptSource pgaf.AptSourceOptions

local CODENAME = { "sh", "codename", script = '. /etc/os-release && printf %s "$VERSION_CODENAME"' }

local function list_path(source) return ("/etc/apt/sources.list.d/%s.sources"):format(source.name) end
local function key_path(source) return ("/etc/apt/keyrings/%s.asc"):format(source.name) end

---The text of the .sources file.
---@param source pgaf.AptSource
---@param codename string
---@return string
local function render(source, codename)
  local architectures = source.architectures and
    ("Architectures: %s\n"):format(table.concat(source.architectures, " ")) or ""
  return ("Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n%sSigned-By: %s\n"):format(
    source.url, source.suite or codename .. (source.suffix or ""), table.concat(source.components or { "main" }, " "),
    architectures, key_path(source))
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
  if not source.key:find "^%w+://" then return fs.read(files.local_path(source.key)) end
  -- apt's own downloader: a minimal image has neither curl nor wget
  local ok, result = pcall(target.node.run, target.node, ([[
file=$(mktemp) && rm -f "$file" && /usr/lib/apt/apt-helper download-file %s "$file" >&2 && cat "$file"
status=$?; rm -f "$file"; exit $status]]):format(quote.sh(source.key)), { timeout = FETCH_SECONDS })
  if ok then return result.stdout end
  return error.raise {
    kind = "network", operation = ("apt source %s on %s"):format(source.name, target.name), cause = result,
    message = ("%s cannot fetch the signing key %s"):format(target.name, source.key),
    hint = "can the node reach it? Else copy the key here and name its path as the key: key = \"/path/to/KEY.asc\" " ..
      "(in an inventory postgres.pgdg.key)",
  }
end

local function absent(source)
  local paths = { list_path(source), key_path(source) }
  local made = { reads = { { "file", paths[1] }, { "file", paths[2] } } }

  function made:probe(_, facts)
    for _, path in ipairs(paths) do
      if facts.file[path] then return path .. " is there" end
    end
    return nil
  end

  function made:changes(target, facts)
    local list = {}
    for _, path in ipairs(paths) do
      if facts.file[path] then list[#list + 1] = files.change(target, facts, path, nil) end
    end
    return list
  end

  function made:apply(target)
    target.node:run("rm -f -- " .. quote.sh_list(paths))
    return "removed the source " .. source.name
  end

  return made
end

local function make(source)
  if source.state == "absent" then return absent(source) end
  local key, list = key_path(source), list_path(source)
  local made = {
    reads = { { "content", key }, { "file", key }, { "content", list }, { "file", list }, CODENAME },
  }

  local function text(facts)
    if not facts.sh.codename and not source.suite then
      error.raise {
        kind = "missing", operation = "apt source " .. source.name,
        message = "the node's /etc/os-release has no VERSION_CODENAME", hint = "name the suite: postgres.pgdg.suite",
      }
    end
    return render(source, facts.sh.codename)
  end

  function made:probe(target, facts)
    if not facts.content[key] then return "no key " .. key end
    check_key(target, source, facts.content[key])
    if facts.file[key].mode ~= "0644" then return ("%s has mode %s"):format(key, facts.file[key].mode) end
    if facts.content[list] ~= text(facts) then return list .. " differs" end
    return nil
  end

  function made:changes(target, facts)
    local changes = {}
    if not facts.content[key] then
      changes[1] = { what = key, after = "the key with fingerprint " .. source.fingerprint:upper() }
    elseif facts.file[key].mode ~= "0644" then
      changes[1] = { what = key .. ": mode", before = facts.file[key].mode, after = "0644" }
    end
    if facts.content[list] ~= text(facts) then
      changes[#changes + 1] = files.change(target, facts, list, text(facts))
    end
    return changes
  end

  function made:apply(target, _, facts)
    local content = facts.content[key] or fetch_key(target, source)
    check_key(target, source, content)
    target.node:run("install -d -m 0755 /etc/apt/keyrings")
    target.node:push(key, content, { mode = "0644" })
    target.node:push(list, text(facts), { mode = "0644" })
    return ("trusted %s for %s"):format(source.fingerprint, source.url)
  end

  return made
end

local word = schema.text { pattern = "[^%s]+", what = "a text without blanks" }

return resource.define {
  kind = "apt_source",
  parameters = {
    name = { schema.text { pattern = "[%w_.-]+", what = "a name of letters, digits, . _ -" }, required = true },
    url = { schema.text { pattern = "%w+://[^%s]+", what = "an address" } },
    suite = { word },
    suffix = { schema.text { pattern = "[^%s]*", what = "a text without blanks" } },
    components = { schema.list(word, { min = 1 }) },
    architectures = { schema.list(word, { min = 1 }) },
    key = { parameter.line },
    fingerprint = { schema.text { pattern = ("%x"):rep(40), what = "a fingerprint of 40 hexadecimal digits" } },
    state = { parameter.state(), default = "present" },
  },
  words = {
    uris = "url", repo = "url", uri = "url", suites = "suite", signed_by = "key", keyring = "key", filename = "name",
  },
  name = function(options) return options.name end,
  check = function(options, report)
    if options.state == "absent" then return end
    for _, name in ipairs { "url", "key", "fingerprint" } do
      if not options[name] then report(name .. " is missing") end
    end
  end,
  make = make,
  also = { render = render },
}
