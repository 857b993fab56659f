-- The user's own Incus remotes: config.yml, pinned server certificates and client certificates of the Incus client,
-- read and never written.
--
--     local remotes = require("pgaf.incus.remotes").load()
--     local server = remotes:server()                        -- the default remote
--     local source = remotes:image("images:debian/12")       -- where an image comes from
--
-- The rules are those of the Incus client (shared/cliconfig in its sources): $INCUS_CONF, else the user's folder;
-- entries of the system-wide folder count where the user's file has none of that name; `local` always exists.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local sorted_keys = require "pgaf.sorted_keys"
local yaml = require "pgafrun.yaml"

local OPERATION = "incus.remotes"
local DEFAULT_IMAGES = "https://images.linuxcontainers.org"
local IMAGE_ONLY = { simplestreams = true, oci = true }

---@class pgaf.incus.Endpoint one way to a server
---@field url string base of all URLs, without a slash at the end
---@field unix_socket? string
---@field project? string the project that this socket is limited to
---@field when? string errno name: an endpoint to be tried only when the one before failed with it

---@class pgaf.incus.Server
---@field name string the remote's name
---@field protocol "incus"|"simplestreams"|"oci"
---@field public boolean an image server without instances
---@field endpoints pgaf.incus.Endpoint[] in the order in which they are to be tried
---@field tls? pgafrun.http.Tls
---@field project string

---@class pgaf.incus.ImageSource
---@field alias? string
---@field fingerprint? string in place of an alias: just this image, of the server that makes the instance
---@field server? pgaf.incus.Server nil: the server that makes the instance has the image itself

---@class pgaf.incus.Remotes
---@field folder string the user's folder
---@field default string
---@field entries table<string, table> as in config.yml: addr, protocol, auth_type, project, public
local Remotes = {}
Remotes.__index = Remotes

local remotes = {}

local function refuse(message, hint, kind)
  error.raise { kind = kind or "config", operation = OPERATION, message = message, hint = hint }
end

local function exists(path) return fs.stat(path) ~= nil end

local function from_environment(name)
  local value = process.getenv(name)
  return value ~= "" and value or nil
end

-- Newer clients follow XDG_CONFIG_HOME; older ones know ~/.config alone. Where both have a file, the newer client wrote
-- the first.
local function user_folder()
  local folder = from_environment "INCUS_CONF"
  if folder then return folder end
  local xdg, home = from_environment "XDG_CONFIG_HOME", from_environment "HOME"
  if xdg and exists(xdg .. "/incus/config.yml") then return xdg .. "/incus" end
  return (home or "") .. "/.config/incus"
end

local function read_file(path)
  if not exists(path) then return {} end
  local ok, document = pcall(yaml.decode, fs.read(path))
  if not ok then
    error.raise { kind = "config", operation = OPERATION, message = path .. " is no YAML", cause = document }
  end
  if document == nil then return {} end
  if type(document) ~= "table" then refuse(path .. " holds no mapping") end
  return document
end

local function take_entries(entries, document, path)
  local found = document.remotes
  if found == nil then return end
  if type(found) ~= "table" then refuse(path .. ": `remotes` is no mapping") end
  for name, entry in pairs(found) do
    if type(entry) ~= "table" then refuse(("%s: remote %s is no mapping"):format(path, name)) end
    entries[name] = entry
  end
end

---Reads the configuration. Raises kind "config" when a file cannot be understood.
---@return pgaf.incus.Remotes
function remotes.load()
  local self = setmetatable({}, Remotes)
  self.folder = user_folder()
  self.global_folder = from_environment "INCUS_GLOBAL_CONF" or "/etc/incus"
  local user_path, global_path = self.folder .. "/config.yml", self.global_folder .. "/config.yml"
  local user, global = read_file(user_path), read_file(global_path)
  self.entries = {
    ["local"] = { addr = "unix://" },
    images = { addr = DEFAULT_IMAGES, protocol = "simplestreams", public = true },
  }
  take_entries(self.entries, global, global_path)
  take_entries(self.entries, user, user_path)
  self.default = from_environment "INCUS_REMOTE" or user["default-remote"] or global["default-remote"] or "local"
  return self
end

---@return string[] names of all remotes, sorted
function Remotes:names() return sorted_keys(self.entries) end

-- ------------------------------------------------------------------------------------------------------ endpoints

local function socket_endpoint(path) return { url = "http://incus", unix_socket = path } end

-- The order of the Incus client. The second socket is for members of group `incus`: incus-user answers there and gives
-- each user a project of their own.
local function local_endpoints()
  local path = from_environment "INCUS_SOCKET"
  if path then return { socket_endpoint(path) } end
  local folder = from_environment "INCUS_DIR"
  if folder then
    path = folder .. "/unix.socket"
  elseif exists "/run/incus/unix.socket" then
    path = "/run/incus/unix.socket"
  else
    path = "/var/lib/incus/unix.socket"
  end
  local endpoints = { socket_endpoint(path) }
  if exists(path .. ".user") then
    local limited = socket_endpoint(path .. ".user")
    limited.project = "user-" .. process.self().uid
    limited.when = "EACCES"
    endpoints[2] = limited
  end
  return endpoints
end

local function endpoints_of(name, addr)
  if type(addr) ~= "string" then refuse(("remote %s has no address"):format(name)) end
  if addr:match "^unix:" then
    local path = addr:gsub("^unix:", ""):gsub("^//", "")
    return path == "" and local_endpoints() or { socket_endpoint(path) }
  end
  local endpoints = {}
  for part in addr:gmatch "[^,%s]+" do
    if not part:match "^https?://." then
      refuse(("remote %s: %s is neither unix:// nor https://"):format(name, part))
    end
    endpoints[#endpoints + 1] = { url = (part:gsub("/+$", "")) }
  end
  if #endpoints == 0 then refuse(("remote %s has an empty address"):format(name)) end
  return endpoints
end

-- ---------------------------------------------------------------------------------------------------- certificates

-- The text of the first of these files that exists, in the user's folder or in the system-wide one.
function Remotes:certificate(...)
  for _, name in ipairs { ... } do
    for _, folder in ipairs { self.folder, self.global_folder } do
      local path = folder .. "/" .. name
      if exists(path) then return fs.read(path), path end
    end
  end
  return nil
end

-- Without a pin the system's authorities decide (or those of client.ca), as for any HTTPS server.
local function tls_of(self, name, public)
  local tls = {}
  tls.pinned = self:certificate(("servercerts/%s.crt"):format(name))
  if public then return tls end
  local own = ("clientcerts/%s."):format(name)
  local base = self:certificate(own .. "crt") and own or "client."
  tls.cert = self:certificate(base .. "crt")
  tls.key = self:certificate(base .. "key")
  if tls.cert and not tls.key then
    refuse(("the client certificate for remote %s has no key: %s/%skey is missing"):format(name, self.folder, base))
  end
  if not tls.pinned then tls.ca = self:certificate(base .. "ca") end
  return tls
end

-- --------------------------------------------------------------------------------------------------------- lookups

---What is needed to talk to a remote. Raises kind "config" for an unknown one, kind "unsupported" for one with OIDC.
---@param name? string default: $INCUS_REMOTE, else the configuration's default
---@param project? string default: $INCUS_PROJECT, else the remote's own
---@return pgaf.incus.Server
function Remotes:server(name, project)
  name = name or self.default
  local entry = self.entries[name]
  if not entry then
    refuse(("there is no Incus remote named %s; known: %s"):format(name, table.concat(self:names(), ", ")),
      ("add it with `incus remote add %s ADDRESS`, or correct provider.remote; read from %s"):format(name, self.folder))
  end
  local protocol = (entry.protocol == nil or entry.protocol == "") and "incus" or entry.protocol
  if entry.auth_type == "oidc" then
    refuse(("remote %s logs in by OIDC, which pgafrun does not speak"):format(name),
      "add the server with a trust token (a client certificate), or use its unix socket", "unsupported")
  end
  local public = entry.public == true or IMAGE_ONLY[protocol] == true
  local endpoints = endpoints_of(name, entry.addr)
  return {
    name = name, protocol = protocol, public = public, endpoints = endpoints,
    tls = not endpoints[1].unix_socket and tls_of(self, name, public) or nil,
    project = project or from_environment "INCUS_PROJECT" or (entry.project ~= "" and entry.project) or "default",
  }
end

---Where an image named as for `incus launch` comes from: "ALIAS" on the instance's server, "REMOTE:ALIAS" elsewhere.
---@param name string
---@param home string the remote on which the instance will be made
---@return pgaf.incus.ImageSource
function Remotes:image(name, home)
  local remote, alias = name:match "^([^:]+):(.+)$"
  if not remote then return { alias = name } end
  if remote == home then return { alias = alias } end
  return { alias = alias, server = self:server(remote) }
end

return remotes
