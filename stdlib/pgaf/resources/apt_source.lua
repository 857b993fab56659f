-- A third party's apt source, trusted for its own packages alone (signed-by), its key checked by fingerprint.
--
--     resource.apt_source {
--       name = "example", url = "https://packages.example.org/debian", suite = "stable", components = { "main" },
--       key = "keys/example.asc", fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567",
--     }
--
-- The key may be an address: then the node fetches it, and it is used only if it has that fingerprint. A node that has
-- another key, or a broken one, is given this one. A suite that ends in "/" is the path of a flat repository.

local throw = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local files = require "pgaf.resource.files"
local openpgp = require "pgaf.openpgp"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

local FETCH_SECONDS = 60

---@class pgaf.AptSourceOptions
---@field name string of its files
---@field url? string
---@field suite? string default: the release's codename, and `suffix` after it; "./": a flat repository
---@field suffix? string "-pgdg", default ""
---@field components? string[] default { "main" }; a flat repository has none
---@field architectures? string[] default: all that the node has
---@field key? string the signing key, armoured: a file on this machine (a relative name is looked up beside the
---script), or an address that the node fetches it from
---@field fingerprint? string of the key's one primary key, 40 hexadecimal digits
---@field state? "present"|"absent" default "present"

---@alias pgaf.AptSource pgaf.AptSourceOptions

local CODENAME = { "sh", "codename", script = '. /etc/os-release && printf %s "$VERSION_CODENAME"' }

local function list_path(source) return ("/etc/apt/sources.list.d/%s.sources"):format(source.name) end
local function key_path(source) return ("/etc/apt/keyrings/%s.asc"):format(source.name) end

-- A suite that is a path has no components: apt refuses all sources over one that has both.
local function is_flat(source) return source.suite ~= nil and source.suite:find "/$" ~= nil end

---The text of the .sources file.
---@param source pgaf.AptSource
---@param codename string
---@return string
local function render(source, codename)
  local architectures = source.architectures and
    ("Architectures: %s\n"):format(table.concat(source.architectures, " ")) or ""
  local suite = source.suite or codename .. (source.suffix or "")
  local components = not is_flat(source) and
    ("Components: %s\n"):format(table.concat(source.components or { "main" }, " ")) or ""
  return ("Types: deb\nURIs: %s\nSuites: %s\n%s%sSigned-By: %s\n"):format(
    source.url, suite, components, architectures, key_path(source))
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

local function is_the_key(source, found) return #found == 1 and found[1] == source.fingerprint:upper() end

-- What is wrong with the key that the node has; nil when nothing is.
local function key_difference(target, source, key)
  if not key then return "no key " .. key_path(source) end
  local ok, found = pcall(fingerprints, target, key)
  if ok and is_the_key(source, found) then return nil end
  if not ok and not error.is(found, "data") then throw(found, 0) end
  return ("%s is not the key with fingerprint %s"):format(key_path(source), source.fingerprint:upper())
end

local function check_key(target, source, key)
  if not key:find("-----BEGIN PGP PUBLIC KEY BLOCK-----", 1, true) then
    error.raise {
      kind = "data", operation = ("apt source %s on %s"):format(source.name, target.name),
      message = ("%s is no armoured OpenPGP key"):format(source.key), hint = "gpg --armor --export KEY makes one",
    }
  end
  local found = fingerprints(target, key)
  if is_the_key(source, found) then return end
  local wanted = source.fingerprint:upper()
  error.raise {
    kind = "untrusted", operation = ("apt source %s on %s"):format(source.name, target.name),
    message = ("the key from %s has fingerprint %s, not %s: not used"):format(
      source.key, table.concat(found, " and "), wanted),
    hint = "was the address or the file the right one? A new key has to be put into the inventory with its fingerprint",
  }
end

local function is_remote(source) return source.key:find "^%w+://" ~= nil end

local function fetch_key(made, target, source)
  if not is_remote(source) then return files.read_source(source.key, made) end
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
  local key_file = { path = key, mode = "0644", user = "root" }
  local list_file = { path = list, mode = "0644", user = "root" }
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
    local difference = key_difference(target, source, facts.content[key])
    if difference then
      -- one of this machine can be looked at before anything is done
      if not is_remote(source) then check_key(target, source, fetch_key(self, target, source)) end
      return difference
    end
    if facts.content[list] ~= text(facts) then return list .. " differs" end
    return files.ownership_difference(facts.file[key], key, files.ownership(key_file, target))
      or files.ownership_difference(facts.file[list], list, files.ownership(list_file, target))
  end

  function made:changes(target, facts)
    local changes
    if key_difference(target, source, facts.content[key]) then
      changes = { {
        what = key, before = facts.content[key] and "another key" or nil,
        after = "the key with fingerprint " .. source.fingerprint:upper(),
      } }
    else
      changes = files.changes(target, facts, key_file, facts.content[key])
    end
    local of_list = files.changes(target, facts, list_file, text(facts))
    return table.move(of_list, 1, #of_list, #changes + 1, changes)
  end

  function made:apply(target, _, facts)
    local content = facts.content[key]
    if key_difference(target, source, content) then
      content = fetch_key(self, target, source)
      check_key(target, source, content)
    end
    target.node:run("install -d -m 0755 /etc/apt/keyrings")
    target.node:push(key, content, { mode = "0644", user = "root" })
    target.node:push(list, text(facts), { mode = "0644", user = "root" })
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
    if options.components and is_flat(options) then report 'components do not go with a suite that ends in "/"' end
  end,
  make = make,
  also = { render = render },
}
