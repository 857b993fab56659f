-- Images of a server: found by alias, made of a stopped instance, listed, deleted.

local rethrow = error
local error = require "pgafrun.error"
local operation = require "pgaf.incus.operation"

local PUBLISH_TIMEOUT = 900
local DELETE_TIMEOUT = 120

---@class pgaf.incus.Image as the API has it
---@field fingerprint string
---@field properties table<string, string>
---@field aliases { name: string }[]
---@field size integer

local image = {}

local function path_of(client, fingerprint) return "/1.0/images/" .. client.escape(fingerprint) end

local function alias_path(client, alias) return "/1.0/images/aliases/" .. client.escape(alias) end

---The fingerprint that an alias stands for.
---@param client pgaf.incus.Client
---@param alias string
---@return string?
function image.target(client, alias)
  local found = client:find(alias_path(client, alias))
  return found and found.target
end

---@param client pgaf.incus.Client
---@param alias string
---@return pgaf.incus.Image?
function image.find(client, alias)
  local fingerprint = image.target(client, alias)
  return fingerprint and client:find(path_of(client, fingerprint))
end

---All images that have a property, whatever its value.
---@param client pgaf.incus.Client
---@param property string
---@return pgaf.incus.Image[]
function image.having(client, property)
  local list = {}
  for _, object in ipairs(client:get("/1.0/images", { recursion = 1 }) or {}) do
    if object.properties and object.properties[property] then list[#list + 1] = object end
  end
  return list
end

---Makes an image of a stopped instance. It has no alias yet.
---@param client pgaf.incus.Client
---@param spec { instance: string, properties: table<string, string>, compression: string }
---@return string fingerprint
function image.publish(client, spec)
  local what = "publish " .. spec.instance
  local request = {
    method = "POST", path = "/1.0/images", body = {
      source = { type = "instance", name = spec.instance }, public = false, properties = spec.properties,
      compression_algorithm = spec.compression,
    },
  }
  local done = operation.run(client, request, { what = what, timeout = PUBLISH_TIMEOUT })
  local fingerprint = done and type(done.metadata) == "table" and done.metadata.fingerprint
  if type(fingerprint) == "string" then return fingerprint end
  error.raise {
    kind = "incus", operation = what, outcome = "unknown", message = "the server did not tell what image it made",
  }
end

---Gives an image an alias, also one that another image has had.
---@param client pgaf.incus.Client
---@param alias string
---@param fingerprint string
---@param description string
function image.name(client, alias, fingerprint, description)
  local body = { name = alias, target = fingerprint, description = description }
  local ok, problem = pcall(client.call, client, { method = "POST", path = "/1.0/images/aliases", body = body })
  if ok then return end
  local now = image.target(client, alias)
  if not now then rethrow(problem, 0) end
  if now == fingerprint then return end
  client:call {
    method = "PUT", path = alias_path(client, alias), body = { target = fingerprint, description = description },
  }
end

---@param client pgaf.incus.Client
---@param fingerprint string
---@return boolean changed
function image.delete(client, fingerprint)
  local ok, problem = pcall(operation.run, client, { method = "DELETE", path = path_of(client, fingerprint) },
    { what = "delete image " .. fingerprint:sub(1, 12), timeout = DELETE_TIMEOUT })
  if ok then return true end
  if error.is(problem, "incus", "404") then return false end
  rethrow(problem, 0)
end

return image
