-- The Incus API of one server: the only place that knows envelopes, projects, targets and how requests are sent.
--
--     local client = require("pgaf.incus.client").open(remotes:server())
--     local instance, etag = client:get("/1.0/instances/" .. client.escape(name))
--     local operation = client:call { method = "PUT", path = ..., body = { action = "start" } }
--
-- An answer's own `type` decides, not the HTTP status: Incus answers 200 with an error inside (see operation.lua).
-- Refusals of the server are raised as kind "incus", code = the number in the answer ("404"), message = its text.

local rethrow = error
local error = require "pgafrun.error"
local http = require "pgafrun.http"
local json = require "pgafrun.json"
local ws = require "pgafrun.ws"

local DEFAULT_TIMEOUT = 30
-- Enough for a chain of refused addresses; a daemon that is socket-activated answers only when it has started.
local OPEN_TIMEOUT = 20
local READ_TRIES = 3

---@class pgaf.incus.Client
---@field server pgaf.incus.Server
---@field endpoint pgaf.incus.Endpoint the one that answered
---@field project string
---@field info table what GET /1.0 told
local Client = {}
Client.__index = Client

---@class pgaf.incus.Request
---@field method? string default GET
---@field path string from the root, its variable parts escaped by the caller
---@field query? table<string, string|number>
---@field body? table|string a table is sent as JSON, a string as it is (with `type`)
---@field type? string Content-Type of a string
---@field headers? table<string, string>
---@field if_match? string an ETag: kind "incus", code "412" when the object has changed since
---@field timeout? number seconds, default 30
---@field scoped? boolean false: not an object of a project
---@field mutates? boolean default: the method is neither GET nor HEAD
---@field max_bytes? integer

---@class pgaf.incus.Answer
---@field type "sync"|"async"
---@field metadata any
---@field operation? string path of the operation
---@field etag? string
---@field status integer HTTP status

local client = { escape = http.escape }
Client.escape = http.escape

-- --------------------------------------------------------------------------------------------------------- sending

local function query_text(query)
  local names = {}
  for name in pairs(query) do names[#names + 1] = name end
  table.sort(names)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = http.escape(name) .. "=" .. http.escape(tostring(query[name])) end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

local function url_of(self, request, endpoint)
  local query = {}
  for name, value in pairs(request.query or {}) do query[name] = value end
  if request.scoped ~= false and self.project ~= "default" then query.project = self.project end
  return endpoint.url .. request.path .. query_text(query)
end

local function headers_of(request)
  local headers = { ["User-Agent"] = "pgafrun" }
  for name, value in pairs(request.headers or {}) do headers[name] = value end
  if request.if_match then headers["If-Match"] = request.if_match end
  if type(request.body) == "table" then
    headers["Content-Type"] = "application/json"
  elseif request.body then
    headers["Content-Type"] = request.type or "application/octet-stream"
  end
  return headers
end

local function send_to(self, endpoint, request)
  local body = request.body
  if type(body) == "table" then body = json.encode(body) end
  local mutates = request.mutates
  if mutates == nil then mutates = request.method ~= nil and request.method ~= "GET" and request.method ~= "HEAD" end
  return http.request {
    url = url_of(self, request, endpoint), method = request.method, headers = headers_of(request), body = body,
    unix_socket = endpoint.unix_socket, tls = self.server.tls, timeout = request.timeout or DEFAULT_TIMEOUT,
    mutates = mutates, max_bytes = request.max_bytes,
  }
end

-- What only reads is asked again when the connection broke under it; nothing else ever is.
local function send(self, request)
  local reads = request.mutates == false or request.method == nil or request.method == "GET" or request.method == "HEAD"
  local tries = reads and READ_TRIES or 1
  for try = 1, tries do
    local ok, response = pcall(send_to, self, self.endpoint, request)
    if ok then return response end
    if try == tries or not error.is(response, "network") or not response.retryable then
      self:explain(response)
    end
  end
end

local HINTS = {
  ENOENT = "the daemon's socket is not there: is Incus installed and running (systemctl status incus)?",
  ECONNREFUSED = "nothing listens there: start the daemon (systemctl start incus), or correct the remote's address",
  EACCES = "this user may not open the socket: it needs the group incus-admin (or incus), and a new login after that",
}

---Raises `cause` again, told as what it means for this remote. What is no failure of the connection goes up as it is.
---@param cause any
function Client:explain(cause)
  if not error.is(cause, "network") or not HINTS[cause.code] then rethrow(cause, 0) end
  local endpoint = self.endpoint or self.server.endpoints[1]
  error.raise {
    kind = "network", operation = cause.operation, code = cause.code, cause = cause, retryable = cause.retryable,
    outcome = cause.outcome, hint = HINTS[cause.code],
    message = ("the Incus server of remote %s cannot be reached at %s"):format(
      self.server.name, endpoint.unix_socket or endpoint.url),
  }
end

-- ------------------------------------------------------------------------------------------------------- answers

local function name_of(request) return ("%s %s"):format(request.method or "GET", request.path) end

local function refuse_answer(self, request, response, what)
  error.raise {
    kind = "protocol", operation = name_of(request), code = tostring(response.status),
    message = ("remote %s answered with %s (HTTP %d): %s"):format(
      self.server.name, what, response.status, response.body:sub(1, 200):gsub("%s+", " ")),
    hint = "is this the address of an Incus server?",
  }
end

-- Raises unless the body is an envelope that tells of success.
local function open_envelope(self, request, response)
  local ok, envelope = pcall(json.decode, response.body)
  if not ok or type(envelope) ~= "table" then
    refuse_answer(self, request, response, "something that is no JSON object")
  end
  if envelope.type == "error" then
    error.raise {
      kind = "incus", operation = name_of(request),
      code = tostring(envelope.error_code or response.status), retryable = envelope.error_code == 503,
      message = envelope.error and envelope.error ~= "" and envelope.error or "the server gave no reason",
    }
  end
  if envelope.type ~= "sync" and envelope.type ~= "async" then
    refuse_answer(self, request, response, "an envelope of unknown type " .. tostring(envelope.type))
  end
  local metadata = envelope.metadata
  if metadata == json.null then metadata = nil end
  return {
    type = envelope.type, metadata = metadata, status = response.status, etag = response.headers.etag,
    operation = envelope.operation ~= "" and envelope.operation or nil,
  }
end

---Sends a request and opens its answer.
---Raises kinds incus, protocol, and those of http.request. The outcome of a change that broke off is unknown.
---@param request pgaf.incus.Request
---@return pgaf.incus.Answer
function Client:call(request)
  return open_envelope(self, request, send(self, request))
end

---As call, for answers that are no envelopes (files). An error in an envelope is raised all the same.
---@param request pgaf.incus.Request
---@return pgafrun.http.Response
function Client:raw(request)
  local response = send(self, request)
  if response.status >= 400 then
    if response.body ~= "" then open_envelope(self, request, response) end
    error.raise {
      kind = "incus", operation = name_of(request), code = tostring(response.status),
      message = ("the server answered HTTP %d without a text"):format(response.status),
    }
  end
  return response
end

---@param path string
---@param query? table<string, string|number>
---@return any metadata, string? etag
function Client:get(path, query)
  local answer = self:call { path = path, query = query }
  return answer.metadata, answer.etag
end

---As get, but nil for what does not exist.
---@param path string
---@param query? table<string, string|number>
---@return any? metadata, string? etag
function Client:find(path, query)
  local ok, answer = pcall(self.call, self, { path = path, query = query })
  if ok then return answer.metadata, answer.etag end
  if error.is(answer, "incus", "404") then return nil end
  rethrow(answer, 0)
end

---Opens a websocket of the API. Only HTTP/1.1 can be upgraded.
---@param path string
---@param query? table<string, string|number>
---@param timeout? number of the handshake
---@return pgafrun.ws.Socket
function Client:websocket(path, query, timeout)
  local endpoint = self.endpoint
  local url = (endpoint.url:gsub("^http", "ws", 1)) .. path .. query_text(query or {})
  return ws.connect { url = url, unix_socket = endpoint.unix_socket, tls = self.server.tls, timeout = timeout }
end

-- --------------------------------------------------------------------------------------------------------- opening

---@param extension string
---@return boolean
function Client:has(extension) return self.extensions[extension] == true end

local function check_trust(self)
  if self.info.auth == "trusted" then return end
  error.raise {
    kind = "permission", operation = "incus.open", code = "untrusted",
    message = ("remote %s does not trust this client's certificate"):format(self.server.name),
    hint = ("on the server: incus config trust add NAME; here: incus remote add %s TOKEN"):format(self.server.name),
  }
end

local function try_endpoint(self, endpoint)
  self.endpoint = endpoint
  self.project = endpoint.project or self.wanted_project
  self.info = self:call { path = "/1.0", scoped = false, timeout = OPEN_TIMEOUT }.metadata
  if type(self.info) ~= "table" or type(self.info.api_extensions) ~= "table" then
    error.raise {
      kind = "protocol", operation = "GET /1.0",
      message = ("remote %s does not describe itself"):format(self.server.name),
      hint = "is this the address of an Incus server?",
    }
  end
end

local function reach(self)
  local first
  for _, endpoint in ipairs(self.server.endpoints) do
    if not first or not endpoint.when or error.is(first, nil, endpoint.when) then
      local ok, problem = pcall(try_endpoint, self, endpoint)
      if ok then return end
      if not error.is(problem, "network") and not error.is(problem, "timeout") then rethrow(problem, 0) end
      first = first or problem
    end
  end
  rethrow(first, 0)
end

---Connects to a server: the first of its endpoints that answers is kept.
---Raises network (ENOENT, ECONNREFUSED, EACCES: with what to do), tls, permission (not trusted), unsupported.
---@param server pgaf.incus.Server
---@return pgaf.incus.Client
function client.open(server)
  if server.public then
    error.raise {
      kind = "config", operation = "incus.open",
      message = ("remote %s is an image server (%s): it has no instances"):format(server.name, server.protocol),
    }
  end
  local self = setmetatable({ server = server, wanted_project = server.project }, Client)
  reach(self)
  self.extensions = {}
  for _, name in ipairs(self.info.api_extensions) do self.extensions[name] = true end
  check_trust(self)
  return self
end

return client
