-- The `incus` provider: a node is a container on an Incus server, reached through one of the user's own remotes.
--
-- What is ours carries two tags, user.pgaf.formation and user.pgaf.node. An instance of the same name without them is
-- somebody else's: it is neither adopted nor deleted.

local rethrow = error
local bake = require "pgaf.provider.incus_bake"
local client = require "pgaf.incus.client"
local error = require "pgafrun.error"
local events = require "pgaf.incus.events"
local instance = require "pgaf.incus.instance"
local lease = require "pgaf.provider.lease"
local log = require "pgafrun.log"
local Node = require "pgaf.provider.incus_node"
local remotes = require "pgaf.incus.remotes"
local task = require "pgafrun.task"

local FORMATION_TAG = "user.pgaf.formation"
local NODE_TAG = "user.pgaf.node"

---@class pgaf.incus.Provider: pgaf.Provider
---@field inventory table
---@field settings table the inventory's `provider`
---@field entries table<string, table> monitor and data nodes of the inventory, by name
---@field monitor_name string
---@field group? pgafrun.Group
---@field lock_renewal? number seconds between renewals of a lock's lease
local Provider = {}
Provider.__index = Provider

local provider = { FORMATION_TAG = FORMATION_TAG, NODE_TAG = NODE_TAG }

---@param inventory table
---@param group? pgafrun.Group where the renewal of a lock runs; without one a lock's lease is simply long
---@return pgaf.incus.Provider
function provider.open(inventory, group)
  local self = setmetatable({
    kind = "incus", formation = inventory.formation, inventory = inventory, settings = inventory.provider,
    system_user = "postgres", group = group, handles = {}, entries = {}, streams = {}, locks = {}, baked = {},
    builders = {}, postponed = {}, opened = task.condition(), order = {}, creating = {}, created = task.condition(),
    monitor_name = inventory.monitor.name,
  }, Provider)
  for i, entry in ipairs { inventory.monitor, table.unpack(inventory.nodes) } do
    self.entries[entry.name], self.order[entry.name] = entry, i
  end
  return self
end

---The connection to the server, made when it is first needed.
---@return pgaf.incus.Client
function Provider:client()
  while self.opening do self.opened:wait() end
  if self.the_client then return self.the_client end
  self.opening = true
  local ok, result = pcall(function()
    self.remotes = remotes.load()
    return client.open(self.remotes:server(self.settings.remote, self.settings.project))
  end)
  self.opening = false
  self.opened:notify()
  if not ok then rethrow(result, 0) end
  self.the_client = result
  return result
end

---@param name string
---@return pgaf.incus.Node
function Provider:node(name)
  local node = self.handles[name]
  if not node then
    node = Node.new(self, name, self.entries[name] or {})
    self.handles[name] = node
  end
  return node
end

---@return pgaf.incus.Node[]
function Provider:nodes()
  local found = {}
  for _, object in ipairs(instance.tagged(self:client(), FORMATION_TAG, self.formation)) do
    if object.config[NODE_TAG] == object.name then found[#found + 1] = self:node(object.name) end
  end
  table.sort(found, function(a, b) return a.name < b.name end)
  return found
end

---What instances of this node say that they are.
---@param object table? of the API
---@param name string
---@return "absent"|"running"|"stopped"|"frozen"|"foreign"
function Provider:status_of(object, name)
  if not object then return "absent" end
  local config = object.config or {}
  if config[FORMATION_TAG] ~= self.formation or config[NODE_TAG] ~= name then return "foreign" end
  local status = object.status
  if status == "Running" or status == "Ready" then return "running" end
  return status == "Frozen" and "frozen" or "stopped"
end

-- --------------------------------------------------------------------------------------------------------- checking

local function refuse(message, hint, cause)
  error.raise { kind = "config", operation = "incus provider", message = message, hint = hint, cause = cause }
end

local function check_server(self)
  local the_client = self:client()
  if the_client.info.environment and the_client.info.environment.server == "lxd" then
    refuse(("remote %s is an LXD server, not Incus"):format(the_client.server.name))
  end
  local ok, problem = pcall(the_client.get, the_client, "/1.0/instances")
  if ok then return end
  if error.is(problem, "incus", "404") then
    refuse(("there is no project %s on remote %s"):format(the_client.project, the_client.server.name),
      ("make it (incus project create %s), or correct provider.project or INCUS_PROJECT"):format(the_client.project),
      problem)
  elseif error.is(problem, "incus", "403") then
    refuse(
      ("remote %s lets this client see no instances of project %s"):format(the_client.server.name, the_client.project),
      "the certificate is restricted: on the server, incus config trust show", problem)
  end
  rethrow(problem, 0)
end

---The devices that the inventory's profiles give an instance.
---@return table<string, table<string, string>>
function Provider:profile_devices()
  if self.devices then return self.devices end
  local devices = {}
  local the_client = self:client()
  for _, name in ipairs(self.settings.profiles) do
    local profile = the_client:find("/1.0/profiles/" .. client.escape(name))
    if not profile then
      refuse(
        ("no profile %s in project %s on remote %s"):format(name, the_client.project, the_client.server.name),
        "correct provider.profiles, or incus profile create " .. name)
    end
    for device, keys in pairs(profile.devices or {}) do devices[device] = keys end
  end
  self.devices = devices
  return devices
end

local function check_devices(self)
  local nic, has_root = self:profile_devices()[self.settings.nic], false
  for _, device in pairs(self:profile_devices()) do
    has_root = has_root or (device.type == "disk" and device.path == "/")
  end
  local names = table.concat(self.settings.profiles, ", ")
  if not has_root then
    refuse(("the profiles (%s) give an instance no root disk"):format(names),
      "incus profile device add default root disk path=/ pool=POOL")
  elseif not nic or nic.type ~= "nic" then
    refuse(("the profiles (%s) have no network interface named %s"):format(names, self.settings.nic),
      ("correct provider.nic, or incus profile device add default %s nic network=NETWORK"):format(self.settings.nic))
  end
end

---Where the image of a node comes from.
---@param entry table of the inventory
---@return pgaf.incus.ImageSource
function Provider:image(entry)
  local the_client = self:client()
  return self.remotes:image(entry.image or self.settings.image, the_client.server.name)
end

-- ------------------------------------------------------------------------------------- images with packages in them

---Says what shall be in the images that nodes are launched from (see incus_bake.lua). Asks nothing.
---@param recipe pgaf.bake.Recipe
function Provider:wants_images(recipe)
  if self.settings.bake then self.recipe = recipe end
end

-- Images make things quicker; a server that does not let us look at them does not stop anything.
local function look_at_images(f, ...)
  local ok, result, more = pcall(f, ...)
  if ok then return result, more end
  if not error.is(result) or result.kind == "cancelled" then rethrow(result, 0) end
  task.check()
  log.warn("baked images are left out of this run: they cannot be looked at", { why = tostring(result) })
  return nil
end

---Why an image has to be baked; nil when there is no need.
---@param ahead? boolean also when no node is about to be launched
---@return string? difference, pgaf.bake.Plan[]? plans
function Provider:image_difference(ahead)
  if not self.recipe then return nil end
  local plans, leftovers
  if ahead then
    plans, leftovers = bake.missing(self, self.recipe, true)
  else
    plans, leftovers = look_at_images(bake.missing, self, self.recipe)
  end
  if not plans then
    self.recipe = nil
    return nil
  end
  local says = {}
  for i, plan in ipairs(plans) do says[i] = ("no image %s on %s"):format(plan.alias, plan.base) end
  for _, name in ipairs(leftovers) do says[#says + 1] = ("an interrupted baking left the builder %s"):format(name) end
  return #says > 0 and table.concat(says, ", ") or nil, plans
end

---Bakes the images that nodes are about to be launched from. Never fails for a reason of its own: without an image the
---packages are installed on each node, and that is said.
---@param tell? fun(text: string)
---@return string? done nil: nothing to bake, it failed, or somebody else was quicker
function Provider:make_images(tell)
  local done = {}
  look_at_images(bake.sweep, self)
  for _, plan in ipairs(select(2, self:image_difference()) or {}) do
    local ok, result = pcall(bake.make, self, plan, tell)
    if ok then
      self.baked[plan.digest] = result
      done[#done + 1] = ("baked %s with %s"):format(plan.alias, table.concat(plan.recipe.packages, ", "))
    else
      if not error.is(result) or result.kind == "cancelled" then rethrow(result, 0) end
      task.check()
      local old = bake.find(self, plan)
      self.baked[plan.digest] = old and old.fingerprint
      log.warn(("%s could not be baked: %s"):format(plan.alias, old and "an old one is taken"
        or "the packages are installed on each node"), { why = tostring(result) })
    end
  end
  return #done > 0 and table.concat(done, "; ") or nil
end

---The image that a node is launched from: with its packages in it where there is one, else the inventory's.
---@param entry table of the inventory
---@return pgaf.incus.ImageSource
function Provider:launch_source(entry)
  local fingerprint = self.recipe and look_at_images(function()
    local plan = bake.plan(self, entry, self.recipe)
    if not self.baked[plan.digest] then
      local object, fresh = bake.find(self, plan)
      self.baked[plan.digest] = fresh and object.fingerprint or nil
    end
    return self.baked[plan.digest]
  end)
  return fingerprint and { fingerprint = fingerprint } or self:image(entry)
end

---Makes a node of a builder that this run has left (see incus_bake.lua).
---@param name string of the node
---@param spec pgaf.incus.Creation
---@return boolean adopted
function Provider:adopt_builder(name, spec) return bake.adopt(self, name, spec) end

---Something that can wait until the provider is closed.
---@param f fun() raises nothing
function Provider:at_the_end(f) table.insert(self.postponed, f) end

-- What the inventory wants of images; nothing when it wants none.
local function all_plans(self) return self.recipe and bake.plans(self, self.entries, self.recipe, 1) or {} end

---Baked images that are too old, or that nobody wants.
---@return pgaf.bake.Superfluous[]
function Provider:superfluous_images() return bake.superfluous(self, all_plans(self)) end

---Removes them, and what interrupted bakings left.
---@return pgaf.bake.Superfluous[] removed
function Provider:prune_images() return bake.prune(self, all_plans(self)) end

---Bakes the images that the inventory's nodes want, whether or not they are about to be launched. Raises what goes
---wrong.
---@param tell? fun(text: string)
---@return string? done as for make_images
function Provider:make_images_ahead(tell)
  local done = {}
  bake.sweep(self)
  for _, plan in ipairs(select(2, self:image_difference(true)) or {}) do
    bake.make(self, plan, tell)
    done[#done + 1] = ("baked %s with %s"):format(plan.alias, table.concat(plan.recipe.packages, ", "))
  end
  return #done > 0 and table.concat(done, "; ") or nil
end

-- --------------------------------------------------------------------------------------------------- before anything

-- What a server of images has, only the daemon can tell when it downloads; what is on the server, we can.
local function check_images(self)
  local seen = {}
  for _, entry in pairs(self.entries) do
    local source = self:image(entry)
    if not source.server and not seen[source.alias] then
      seen[source.alias] = true
      local the_client = self:client()
      local found = the_client:find("/1.0/images/aliases/" .. client.escape(source.alias))
        or (source.alias:match "^%x+$" and the_client:find("/1.0/images/" .. source.alias))
      if not found then
        refuse(("remote %s has no image %s"):format(the_client.server.name, source.alias),
          "incus image list; an image of another server is named REMOTE:ALIAS, such as images:ubuntu/22.04")
      end
    end
  end
end

---Raises, before anything is touched, when the formation cannot be made on this server.
function Provider:check()
  check_server(self)
  check_devices(self)
  check_images(self)
end

local ABILITIES = { cut = true, freeze = true, snapshot = true, systemd = true, packages = true }

---@param capability string
---@return boolean, string? reason
function Provider:can(capability)
  if ABILITIES[capability] then return true end
  return false, "unknown capability " .. tostring(capability)
end

---The right to change this formation: against other processes of this machine, and, once the monitor's instance exists,
---against everybody who uses this server. Raises kind "locked" with who has it.
---@param what string what is going to be done
---@param later? boolean the second half only at the first call of the lock's hold(), before something is changed
---@return pgaf.provider.Lock
function Provider:lock(what, later)
  local lock = lease.take(self, what, later)
  self.locks[lock] = true
  return lock
end

-- ---------------------------------------------------------------------------------------------------------- events

---@class pgaf.incus.NodeEvents
local NodeEvents = {}
NodeEvents.__index = NodeEvents

local STATUS_EVENTS = {
  running = "instance-started", stopped = "instance-stopped", frozen = "instance-paused", absent = "instance-deleted",
}
local EVENT_STATUS = {
  ["instance-started"] = "running", ["instance-restarted"] = "running", ["instance-resumed"] = "running",
  ["instance-stopped"] = "stopped", ["instance-shutdown"] = "stopped", ["instance-paused"] = "frozen",
  ["instance-deleted"] = "absent", ["instance-ready"] = "running",
}

-- What happened while nobody listened is told as events marked `resync`: the states that are different now.
local function resync(self, at)
  local first = self.known == nil
  local now = {}
  for _, object in ipairs(instance.tagged(self.provider:client(), FORMATION_TAG, self.provider.formation)) do
    now[object.name] = self.provider:status_of(object, object.name)
  end
  if not first then
    for name in pairs(self.known) do now[name] = now[name] or "absent" end
    for name, status in pairs(now) do
      if self.known[name] ~= status then
        table.insert(self.queue, { at = at, node = name, action = STATUS_EVENTS[status], resync = true })
      end
    end
  end
  self.known = now
end

---The next event of one of the formation's instances; nil when `seconds` passed.
---@param seconds? number
---@return { at: number, node: string, action: string, by: string?, resync: true? }? at: time.now() of its arrival
function NodeEvents:next(seconds)
  local deadline = require("pgafrun.time").now() + (seconds or math.huge)
  while true do
    if #self.queue > 0 then return table.remove(self.queue, 1) end
    local left = math.max(0, deadline - require("pgafrun.time").now())
    local event = self.stream:next(left < math.huge and left or nil)
    if not event then return nil end
    local metadata = event.metadata
    if event.type == "resync" then
      resync(self, event.at)
    elseif event.type == "lifecycle" and type(metadata) == "table" and type(metadata.action) == "string" then
      local name = metadata.name or (metadata.source or ""):match "/instances/([^/?]+)"
      local action = metadata.action
      -- Commands and files are not what becomes of an instance.
      local tells = action:match "^instance%-" and action ~= "instance-exec" and not action:match "^instance%-file%-"
      if name and (self.known[name] or self.provider.entries[name]) and tells then
        self.known[name] = EVENT_STATUS[action] or self.known[name]
        local requestor = metadata.requestor
        return {
          at = event.at, node = name, action = action,
          by = type(requestor) == "table" and requestor.username or nil,
        }
      end
    end
  end
end

function NodeEvents:close()
  self.provider.streams[self] = nil
  self.stream:close()
end
NodeEvents.__close = NodeEvents.close

---The server's events about this formation's instances, from now on.
---@return pgaf.incus.NodeEvents
function Provider:events()
  local stream = setmetatable({ provider = self, queue = {}, stream = events.open(self:client()) }, NodeEvents)
  stream.stream:next(0) -- the first resync: from here on nothing is missed
  resync(stream, 0)
  self.streams[stream] = true
  return stream
end

---Ends sessions, streams and locks. Idempotent.
function Provider:close()
  local postponed = self.postponed
  self.postponed = {}
  for _, f in ipairs(postponed) do f() end
  for lock in pairs(self.locks) do lock:close() end
  for stream in pairs(self.streams) do stream:close() end
  for _, node in pairs(self.handles) do node:close() end
  self.locks, self.streams = {}, {}
end

function Provider:__close()
  local ok, problem = pcall(self.close, self)
  if not ok then log.warn("the provider did not close in order", { why = tostring(problem) }) end
end

return provider
