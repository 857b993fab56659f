-- One instance of a server: what it is, and changes that are made to be so.
--
-- Every change of state converges: act, wait, look again, try once more. An error of the server is no verdict (starting
-- what runs is one); the state afterwards is.

local rethrow = error
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local operation = require "pgaf.incus.operation"
local task = require "pgafrun.task"

local CREATE_TIMEOUT = 600
local STATE_TIMEOUT = 120
local GRACEFUL_SECONDS = 60
local SNAPSHOT_TIMEOUT = 600
local EDIT_TRIES = 5

---@class pgaf.incus.Instance
---@field client pgaf.incus.Client
---@field name string
---@field path string of the API
local Instance = {}
Instance.__index = Instance

local instance = {}

---A handle; asks nothing.
---@param client pgaf.incus.Client
---@param name string
---@return pgaf.incus.Instance
function instance.of(client, name)
  return setmetatable({ client = client, name = name, path = "/1.0/instances/" .. client.escape(name) }, Instance)
end

---Instances whose config has this value under this key (a tag), as objects.
---@param client pgaf.incus.Client
---@param key string "user.pgaf.formation"
---@param value string
---@return table[]
function instance.tagged(client, key, value)
  local found = client:get("/1.0/instances", { recursion = 1, filter = ("config.%s eq %s"):format(key, value) })
  local same = {}
  -- The server takes the value for a regular expression, and answers nothing when it does not understand the filter.
  for _, object in ipairs(found or client:get("/1.0/instances", { recursion = 1 }) or {}) do
    if object.config and object.config[key] == value then same[#same + 1] = object end
  end
  return same
end

---Instances whose config has this key, whatever its value, as objects.
---@param client pgaf.incus.Client
---@param key string
---@return table[]
function instance.having(client, key)
  local list = {}
  for _, object in ipairs(client:get("/1.0/instances", { recursion = 1 }) or {}) do
    if object.config and (object.config[key] or "") ~= "" then list[#list + 1] = object end
  end
  return list
end

---@return table? object nil: there is none
---@return string? etag
function Instance:get() return self.client:find(self.path) end

---@return string? status "Running", "Stopped", "Frozen", ...; nil: there is none
function Instance:status()
  local object = self:get()
  return object and object.status
end

-- Commands are no work on the instance.
local function is_at_work_on(object, name)
  for _, url in ipairs(object.class == "task" and object.resources and object.resources.instances or {}) do
    if url:match "/instances/([^/?]+)" == name then return true end
  end
  return false
end

---Waits for what the server does with it on behalf of somebody who does not wait any longer: an instance whose image is
---still being unpacked is there, stopped, and must not be started.
---@return boolean waited
function Instance:settle()
  local waited, found = false, self.client:get("/1.0/operations", { recursion = 1 })
  for _, status in ipairs { "pending", "running" } do
    for _, object in ipairs(found[status] or {}) do
      if is_at_work_on(object, self.name) then
        operation.await(self.client, object.id, {
          what = ("%s of %s"):format(object.description or "an operation", self.name), timeout = CREATE_TIMEOUT,
        })
        waited = true
      end
    end
  end
  return waited
end

---@return table state network (nil when stopped), pid, status ...
function Instance:state() return (self.client:get(self.path .. "/state")) end

-- The guest can call itself ready; it runs as before.
local function same_status(status, wanted)
  return status == wanted or (wanted == "Running" and status == "Ready")
end

local ACTION_NAMES = { start = "start", stop = "stop", freeze = "freeze", unfreeze = "thaw", restart = "restart" }

local function act(self, body, timeout)
  local what = ("%s %s"):format(ACTION_NAMES[body.action], self.name)
  local request = { method = "PUT", path = self.path .. "/state", body = body }
  return operation.run(self.client, request, { what = what, timeout = timeout })
end

local function refuse_absent(self, what)
  error.raise {
    kind = "absent", operation = ("%s %s"):format(what, self.name), message = self.name .. " does not exist",
  }
end

-- A cancelled or timed-out wait is not to be answered with another try.
local function goes_up(problem)
  return not error.is(problem) or problem.kind == "cancelled" or problem.kind == "timeout"
end

---Brings the instance to a status and verifies it. Returns whether it was another before.
---@param wanted "Running"|"Stopped"|"Frozen"
---@param step fun(status: string, try: integer): table, number? the body of the next request and its time limit
---@return boolean changed
local function make_so(self, wanted, step)
  local problem
  for try = 1, 3 do
    local status = self:status()
    if not status then refuse_absent(self, wanted) end
    if same_status(status, wanted) then return try > 1 end
    if try == 3 then break end
    if try == 2 and not problem then task.sleep(0.2) end -- a thaw right after a freeze has been seen to do nothing
    local ok, result = pcall(act, self, step(status, try))
    if not ok then
      if goes_up(result) then rethrow(result, 0) end
      problem = result
    end
  end
  error.raise {
    kind = "state", operation = ("%s %s"):format(wanted, self.name), cause = problem,
    message = ("%s is %s and not %s, after two tries"):format(self.name, self:status() or "gone", wanted),
    hint = ("incus info --show-log %s"):format(self.name),
  }
end

---Starts it, or thaws a frozen one.
---@return boolean changed
function Instance:start()
  return make_so(self, "Running", function(status)
    return { action = status == "Frozen" and "unfreeze" or "start", timeout = STATE_TIMEOUT }, STATE_TIMEOUT
  end)
end

---Stops it. A graceful stop that fails is followed by a forced one: else the server keeps the instance locked, and its
---files can neither be read nor written.
---@param options? { force?: boolean, timeout?: number } timeout: seconds that the guest has, default 60
---@return boolean changed
function Instance:stop(options)
  local force = options and options.force or false
  local seconds = math.max(1, math.ceil(options and options.timeout or GRACEFUL_SECONDS))
  return make_so(self, "Stopped", function(status, try)
    if force or try > 1 or status == "Frozen" then
      return { action = "stop", force = true, timeout = STATE_TIMEOUT }, STATE_TIMEOUT
    end
    return { action = "stop", force = false, timeout = seconds }, seconds + STATE_TIMEOUT
  end)
end

---@return boolean changed
function Instance:freeze()
  return make_so(self, "Frozen", function() return { action = "freeze", timeout = STATE_TIMEOUT }, STATE_TIMEOUT end)
end

---@return boolean changed
function Instance:thaw()
  return make_so(self, "Running", function(status)
    if status ~= "Frozen" then
      error.raise { kind = "state", operation = "thaw " .. self.name, message = ("%s is %s, not frozen"):format(
        self.name, status:lower()) }
    end
    return { action = "unfreeze", timeout = STATE_TIMEOUT }, STATE_TIMEOUT
  end)
end

-- ------------------------------------------------------------------------------------------------ making, deleting

---@class pgaf.incus.Creation
---@field source pgaf.incus.ImageSource
---@field copy_of? string instance or instance/snapshot, in place of an image
---@field profiles? string[]
---@field config? table<string, string>
---@field devices? table<string, table<string, string>>
---@field description? string
---@field target? string cluster member, or "@GROUP"

local function source_of(spec)
  if spec.copy_of then return { type = "copy", source = spec.copy_of, instance_only = true } end
  local source = { type = "image", alias = spec.source.alias, fingerprint = spec.source.fingerprint }
  local server = spec.source.server
  if server then
    source.server, source.protocol, source.mode = server.endpoints[1].url, server.protocol, "pull"
    source.certificate = server.tls and server.tls.pinned
    if server.endpoints[1].unix_socket then
      error.raise {
        kind = "config", operation = "create", message = ("the image server %s is only reachable by a socket of this"
          .. " machine; the daemon downloads images by itself"):format(server.name),
        hint = "copy the image: incus image copy REMOTE:ALIAS TARGET: --alias ALIAS",
      }
    end
  end
  return source
end

---Creates it, stopped. Raises kind "incus" when the server refused, also because the name is taken, by whomever.
---@param spec pgaf.incus.Creation
function Instance:create(spec)
  local request = {
    method = "POST", path = "/1.0/instances", query = { target = spec.target },
    body = {
      name = self.name, type = "container", source = source_of(spec), description = spec.description,
      profiles = spec.profiles and json.as_array(spec.profiles), config = spec.config, devices = spec.devices,
    },
  }
  local made = operation.run(self.client, request, { what = "create " .. self.name, timeout = CREATE_TIMEOUT })
  if not made and not self:get() then
    error.raise {
      kind = "incus", operation = "create " .. self.name, outcome = "unknown",
      message = "the server forgot the operation, and there is no such instance",
    }
  end
end

---Gives it another name. It has to be stopped; the handle stays that of the old name.
---@param name string
function Instance:rename(name)
  operation.run(self.client, { method = "POST", path = self.path, body = { name = name } },
    { what = ("rename %s to %s"):format(self.name, name), timeout = STATE_TIMEOUT })
end

---Deletes it, running or not. The caller has made sure that it may.
---@return boolean changed
function Instance:delete()
  for try = 1, 2 do
    local status = self:status()
    if not status then return try > 1 end
    if status ~= "Stopped" then self:stop { force = true } else self:settle() end
    local ok, problem = pcall(operation.run, self.client, { method = "DELETE", path = self.path },
      { what = "delete " .. self.name, timeout = STATE_TIMEOUT })
    if not ok and not error.is(problem, "incus", "404") and (try == 2 or goes_up(problem)) then rethrow(problem, 0) end
  end
  if self:get() then
    error.raise { kind = "state", operation = "delete " .. self.name, message = self.name .. " is still there" }
  end
  return true
end

---Changes config and devices: `edit` gets the instance as it is and returns what is to be merged (config values of ""
---are unset, devices are replaced one by one), or nil for nothing. Called again when somebody else changed it.
---@param edit fun(object: table): { config?: table<string, string>, devices?: table }?
---@return boolean changed
function Instance:update(edit)
  for try = 1, EDIT_TRIES do
    local object, etag = self:get()
    if not object then refuse_absent(self, "change") end
    local change = edit(object)
    if not change then return false end
    local ok, problem = pcall(self.client.call, self.client,
      { method = "PATCH", path = self.path, body = change, if_match = etag })
    if ok then return true end
    if not error.is(problem, "incus", "412") or try == EDIT_TRIES then rethrow(problem, 0) end
  end
end

-- ------------------------------------------------------------------------------------------------------- snapshots

local function snapshot_path(self, name) return self.path .. "/snapshots/" .. self.client.escape(name) end

---@return string[] names
function Instance:snapshots()
  local names = {}
  for i, object in ipairs(self.client:get(self.path .. "/snapshots", { recursion = 1 }) or {}) do
    names[i] = object.name:match "([^/]+)$"
  end
  return names
end

---Makes a snapshot. A running container is frozen meanwhile on pools that copy (dir, lvm, ceph): seconds.
---@param name string
---@return boolean changed false: there was one of that name
function Instance:snapshot(name)
  if self.client:find(snapshot_path(self, name)) then return false end
  local request = { method = "POST", path = self.path .. "/snapshots", body = { name = name, stateful = false } }
  operation.run(self.client, request,
    { what = ("snapshot %s/%s"):format(self.name, name), timeout = SNAPSHOT_TIMEOUT })
  if not self.client:find(snapshot_path(self, name)) then
    error.raise { kind = "state", operation = ("snapshot %s/%s"):format(self.name, name), message = "it is not there" }
  end
  return true
end

---Puts disk, config and devices back to what they were. A running instance is stopped by force and started again.
---@param name string
function Instance:restore(name)
  operation.run(self.client, { method = "PUT", path = self.path, body = { restore = name } },
    { what = ("restore %s/%s"):format(self.name, name), timeout = SNAPSHOT_TIMEOUT })
end

---@param name string
---@return boolean changed
function Instance:delete_snapshot(name)
  if not self.client:find(snapshot_path(self, name)) then return false end
  operation.run(self.client, { method = "DELETE", path = snapshot_path(self, name) },
    { what = ("delete snapshot %s/%s"):format(self.name, name), timeout = SNAPSHOT_TIMEOUT })
  return true
end

-- --------------------------------------------------------------------------------------------------------- network

---What the guest has written on its console since it started; also after it died.
---@return string
function Instance:console()
  return self.client:raw { path = self.path .. "/console" }.body
end

---The first address of one family on one NIC, as the guest names it; nil while it has none.
---@param nic string
---@param family? "inet"|"inet6" default inet
---@return string? address, string status of the instance
function Instance:address(nic, family)
  local state = self:state()
  local network = state.network
  local interface = type(network) == "table" and network[nic]
  for _, address in ipairs(interface and interface.addresses or {}) do
    if address.family == (family or "inet") and address.scope == "global" then return address.address, state.status end
  end
  return nil, state.status
end

return instance
