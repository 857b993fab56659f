-- Bringing a node of the incus provider up: created, as declared, started, with an address and booted.

local rethrow = error
local error = require "pgafrun.error"
local log = require "pgafrun.log"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local FORMATION_TAG = "user.pgaf.formation"
local NODE_TAG = "user.pgaf.node"
local READY_PAUSE = 0.05
local ERROR_LINES = 10

local launch = {}

-- The network interface becomes the instance's own, with all of the profile's keys: so its address can be pinned later
-- without the interface being made anew.
local function creation(self)
  local provider, limits = self.provider, self.entry.limits or {}
  local config = { [FORMATION_TAG] = provider.formation, [NODE_TAG] = self.name }
  config["limits.cpu"] = limits.cpu and tostring(limits.cpu)
  config["limits.memory"] = limits.memory and tostring(limits.memory)
  for lock in pairs(provider.locks) do lock:add_to(self.name, config) end
  local nic = provider.settings.nic
  return {
    source = provider:launch_source(self.entry), profiles = provider.settings.profiles, config = config,
    target = self.entry.target or provider.settings.target,
    devices = { [nic] = provider:profile_devices()[nic] },
    description = ("node %s of the formation %s"):format(self.name, provider.formation),
  }
end

local function create(self)
  local spec = creation(self)
  if self.provider:adopt_builder(self.name, spec) then return end
  local ok, problem = pcall(self:instance().create, self:instance(), spec)
  if ok then return end
  task.check()
  local status = self:status()
  if status == "foreign" then self:refuse_foreign "launch" end
  if status == "absent" then rethrow(problem, 0) end
  log.debug("the instance is there though its creation was told as failed", { node = self.name })
  self:instance():settle()
end

-- The limits that an instance has not as they are declared.
local function differing_limits(self, object)
  local limits, config = self.entry.limits or {}, {}
  for key, value in pairs { cpu = limits.cpu, memory = limits.memory } do
    if object.config["limits." .. key] ~= tostring(value) then config["limits." .. key] = tostring(value) end
  end
  return next(config) and config or nil
end

local function converge_limits(self)
  return self:instance():update(function(object)
    local config = differing_limits(self, object)
    return config and { config = config } or nil
  end)
end

-- A name server of the network's own gives the address; it shall be the same after every restart, for certificates and
-- access rules name it.
local function pinned_device(self, object, address)
  local nic = self.provider.settings.nic
  local device = object.devices and object.devices[nic]
  if not device or not device.network or device["ipv4.address"] then return nil end
  local pinned = { ["ipv4.address"] = address }
  for key, value in pairs(device) do pinned[key] = pinned[key] or value end
  return { [nic] = pinned }
end

local function pin_address(self, address)
  return self:instance():update(function(object)
    local devices = pinned_device(self, object, address)
    return devices and { devices = devices } or nil
  end)
end

-- A container whose init gives up (no inotify instances left on the host, for one) is simply stopped again.
local function raise_died(self)
  local ok, console = pcall(function() return self:instance():console() end)
  local lines = {}
  for line in (ok and console or ""):gsub("\27%[[%d;]*%a", ""):gmatch "[^\r\n]+" do lines[#lines + 1] = line end
  local last = table.concat(lines, "\n    ", math.max(1, #lines - ERROR_LINES + 1))
  error.raise {
    kind = "state", operation = "start " .. self.name, code = "died",
    message = ("%s stopped while it was booting; the last lines on its console:\n    %s"):format(
      self.name, last ~= "" and last or "(none)"),
    hint = ("incus start %s --console; `Too many open files` there: raise fs.inotify.max_user_instances on the host")
      :format(self.name),
  }
end

-- The server takes some instances for started that are dying already.
---@param self pgaf.incus.Node
---@return boolean changed
function launch.start_instance(self)
  local ok, result = pcall(self:instance().start, self:instance())
  if ok then return result end
  if error.is(result, "state") and not result.cause and self:status() == "stopped" then raise_died(self) end
  rethrow(result, 0)
end

-- Asking for the state of one that dies meanwhile can fail in itself.
local function look_for_address(self, nic)
  local ok, address, status = pcall(self:instance().address, self:instance(), nic)
  if ok then return address, status end
  if not error.is(address, "incus") then rethrow(address, 0) end
  return nil, self:instance():status()
end

local function wait_for_address(self, deadline)
  local nic = self.provider.settings.nic
  while true do
    local address, status = look_for_address(self, nic)
    if address then return address end
    if status == "Stopped" then raise_died(self) end
    if time.now() >= deadline then
      error.raise {
        kind = "timeout", operation = "start " .. self.name, code = "address", retryable = true,
        message = ("%s has no IPv4 address on %s after %g s"):format(
          self.name, nic, self.provider.settings.ready_timeout),
        hint = ("incus console --show-log %s; does its network have DHCP, and a firewall that lets it through?"):format(
          self.name),
      }
    end
    task.sleep(READY_PAUSE)
  end
end

-- A degraded system is up as well: some unit failed that may have nothing to do with us.
local BOOTED = [[
state=$(systemctl is-system-running --wait 2>/dev/null)
status=$?
case $state in running|degraded) exit 0;; esac
echo "$state"; exit "$status"]]

---Opens the node's shell and looks whether it has booted, for wait_until_ready to know it already.
---@param self pgaf.incus.Node
function launch.warm_up(self)
  self.warming = task.condition()
  local ok, result = pcall(self.run, self, BOOTED, { check = false })
  self.has_booted = ok and result.code == 0
  self.warming:notify()
  self.warming = nil
end

local function wait_for_boot(self, deadline)
  if self.warming then self.warming:wait(math.max(0, deadline - time.now())) end
  while not self.has_booted do
    local left = deadline - time.now()
    local ok, result = pcall(self.run, self, BOOTED, { check = false, timeout = math.max(1, left) })
    if ok and result.code == 0 then return end
    task.check()
    if not ok and error.is(result, "state") then raise_died(self) end
    if left <= 0 then
      error.raise {
        kind = "timeout", operation = "start " .. self.name, code = "systemd", retryable = true,
        cause = not ok and result or nil,
        message = ("%s has not finished booting after %g s (systemd says: %s)"):format(self.name,
          self.provider.settings.ready_timeout, ok and result.stdout:match "%S+" or "nothing"),
        hint = ("incus exec %s -- systemctl list-jobs"):format(self.name),
      }
    elseif ok and result.code == 127 then
      error.raise {
        kind = "config", operation = "start " .. self.name, message = self.name .. " has no systemd",
        hint = "use an image with systemd",
      }
    end
    task.sleep(READY_PAUSE)
  end
end

---Waits until it has an address and has booted.
---@param self pgaf.incus.Node
---@return string address
function launch.wait_until_ready(self)
  local deadline = time.now() + self.provider.settings.ready_timeout
  do
    local group <close> = task.group { name = "boot of " .. self.name }
    group:spawn(wait_for_boot, self, deadline)
    self.the_address = wait_for_address(self, deadline)
  end
  return self.the_address
end

-- Nothing is left half made without being named.
local function tell_what_is_there(self, problem)
  if not error.is(problem) then rethrow(problem, 0) end
  local ok, status = pcall(task.shield, 5, self.status, self)
  local there = ok and ("the instance %s exists now and is %s"):format(self.name, status)
    or ("whether the instance %s exists now is unknown"):format(self.name)
  if problem.kind == "cancelled" then
    log.warn(("launch of %s was interrupted: %s"):format(self.name, there))
    rethrow(problem, 0)
  end
  error.raise {
    kind = problem.kind, code = problem.code, operation = "launch " .. self.name, cause = problem,
    retryable = problem.retryable, outcome = problem.outcome, message = "the node is not ready; " .. there,
    hint = "running the same again goes on from there",
  }
end

---What launch would change; reads only. nil: nothing.
---@param self pgaf.incus.Node
---@return string? difference, pgaf.Change[]? changes
function launch.difference(self)
  local object = self:instance():get()
  local status = self.provider:status_of(object, self.name)
  local what = "instance " .. self.name
  if status == "foreign" then self:refuse_foreign "launch" end
  if status == "absent" then return "it does not exist", { { what = what, before = "missing", after = "running" } } end
  local says, changes = {}, {}
  for key, value in pairs(differing_limits(self, object) or {}) do
    local now = object.config[key]
    says[#says + 1] = ("%s is %s, not %s"):format(key, now or "not set", value)
    changes[#changes + 1] = { what = ("%s: %s"):format(what, key), before = now or "not set", after = value }
  end
  if pinned_device(self, object, "") then
    says[#says + 1] = "its address may be another after a restart"
    changes[#changes + 1] = { what = what .. ": address", before = "of the moment", after = "pinned" }
  end
  if status ~= "running" then
    says[#says + 1] = "it is " .. status
    changes[#changes + 1] = { what = what, before = status, after = "running" }
  end
  if #says == 0 then return nil end
  return table.concat(says, "; "), changes
end

-- One look is all that a node takes which is as declared: beside it only whether it is ready is asked.
local function is_as_declared(self, object)
  return not differing_limits(self, object) and not pinned_device(self, object, "")
end

local function bring_up(self, settled)
  local started = not settled and launch.start_instance(self)
  if started then self:close_shells() end
  local address = launch.wait_until_ready(self)
  local pinned = not settled and pin_address(self, address)
  for lock in pairs(self.provider.locks) do lock:node_is_there(self.name) end
  return started and "started" or pinned and "pinned its address" or nil
end

-- A server unpacks one image after the other, in whatever order it was asked: it is asked in the inventory's, since the
-- nodes that others wait for come first in it.
local function begin_turn(self)
  local provider = self.provider
  provider.creating[self.name] = self.entry.target or provider.settings.target or ""
  return setmetatable({}, {
    __close = function()
      provider.creating[self.name] = nil
      provider.created:notify()
    end,
  })
end

local function wait_for_turn(self)
  local provider = self.provider
  local function is_first()
    for name, target in pairs(provider.creating) do
      if (provider.order[name] or 0) < (provider.order[self.name] or 0) and target == provider.creating[self.name] then
        return false
      end
    end
    return true
  end
  while not is_first() do provider.created:wait() end
end

-- What the node is, after it was created where it was not there.
local function make(self)
  local _ <close> = begin_turn(self)
  local object = self:instance():get()
  local status = self.provider:status_of(object, self.name)
  if status == "stopped" and self:instance():settle() then -- a run that was interrupted was creating it
    object = self:instance():get()
    status = self.provider:status_of(object, self.name)
  end
  if status == "foreign" then self:refuse_foreign "launch" end
  if status == "absent" then
    wait_for_turn(self)
    create(self)
  end
  return status, object
end

---Creates the node, or makes sure that it is as declared and runs. Returns when it is ready.
---@param self pgaf.incus.Node
---@return boolean changed, string? what
function launch.launch(self)
  local status, object = make(self)
  local settled = status == "running" and is_as_declared(self, object)
  local what
  if status == "absent" then
    what = "launched"
  elseif not settled and converge_limits(self) then
    what = "changed its limits"
  end
  local ok, result = pcall(bring_up, self, settled)
  if not ok then tell_what_is_there(self, result) end
  what = what or result
  return what ~= nil, what
end

return launch
