-- A node of the incus provider: a container, its open shells, its files.

local rethrow = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local exec = require "pgaf.incus.exec"
local files = require "pgaf.incus.files"
local instance = require "pgaf.incus.instance"
local layout = require "pgaf.provider.incus_layout"
local log = require "pgafrun.log"
local partition = require "pgaf.provider.partition"
local session = require "pgaf.incus.session"
local shell = require "pgaf.shell"
local SystemdService = require "pgaf.provider.systemd"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local FORMATION_TAG = "user.pgaf.formation"
local NODE_TAG = "user.pgaf.node"
local READY_PAUSE = 0.05
local ERROR_LINES = 10

---@class pgaf.incus.Node: pgaf.Node
---@field provider pgaf.incus.Provider
---@field entry table of the inventory; empty for a node that is no longer in it
---@field shells table<string, pgaf.Shell> by user
local Node = {}
Node.__index = Node

---@param provider pgaf.incus.Provider
---@param name string
---@param entry table
---@return pgaf.incus.Node
function Node.new(provider, name, entry)
  return setmetatable({
    provider = provider, name = name, entry = entry, shells = {}, users = {}, sentinels = {},
    hostname = name .. "." .. provider.inventory.domain,
  }, Node)
end

---@return pgaf.incus.Instance
function Node:instance()
  if not self.the_instance then self.the_instance = instance.of(self.provider:client(), self.name) end
  return self.the_instance
end

---@return "absent"|"running"|"stopped"|"frozen"|"foreign"
function Node:status() return self.provider:status_of(self:instance():get(), self.name) end

---@return table<string, string>
function Node:paths()
  self.the_paths = self.the_paths or layout.paths(self.provider.inventory)
  return self.the_paths
end

---@return table<string, string>
function Node:environment() return layout.environment(self:paths()) end

-- --------------------------------------------------------------------------------------------------- life and death

local function refuse_foreign(self, what)
  error.raise {
    kind = "foreign", operation = ("%s %s"):format(what, self.name),
    message = ("an instance named %s exists on remote %s and is not a node of formation %s: left alone"):format(
      self.name, self.provider:client().server.name, self.provider.formation),
    hint = "choose another name in the inventory, or remove that instance yourself",
  }
end

-- The status, when the node is there and ours.
local function own_status(self, what)
  local status = self:status()
  if status == "foreign" then refuse_foreign(self, what) end
  if status == "absent" then
    error.raise {
      kind = "absent", operation = ("%s %s"):format(what, self.name), message = self.name .. " does not exist",
    }
  end
  return status
end

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
  local ok, problem = pcall(self:instance().create, self:instance(), creation(self))
  if ok then return end
  task.check()
  local status = self:status()
  if status == "foreign" then refuse_foreign(self, "launch") end
  if status == "absent" then rethrow(problem, 0) end
  log.debug("the instance is there though its creation was told as failed", { node = self.name })
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
local function pin_address(self, address)
  local nic = self.provider.settings.nic
  self:instance():update(function(object)
    local device = object.devices and object.devices[nic]
    if not device or not device.network or device["ipv4.address"] then return nil end
    local pinned = { ["ipv4.address"] = address }
    for key, value in pairs(device) do pinned[key] = pinned[key] or value end
    return { devices = { [nic] = pinned } }
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
local function start_instance(self)
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

local function wait_for_boot(self, deadline)
  while true do
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
---@return string address
function Node:wait_until_ready()
  local deadline = time.now() + self.provider.settings.ready_timeout
  self.the_address = wait_for_address(self, deadline)
  wait_for_boot(self, deadline)
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
---@return string? difference, pgaf.Change[]? changes
function Node:difference()
  local object = self:instance():get()
  local status = self.provider:status_of(object, self.name)
  local what = "instance " .. self.name
  if status == "foreign" then refuse_foreign(self, "launch") end
  if status == "absent" then return "it does not exist", { { what = what, before = "missing", after = "running" } } end
  local says, changes = {}, {}
  for key, value in pairs(differing_limits(self, object) or {}) do
    local now = object.config[key]
    says[#says + 1] = ("%s is %s, not %s"):format(key, now or "not set", value)
    changes[#changes + 1] = { what = ("%s: %s"):format(what, key), before = now or "not set", after = value }
  end
  if status ~= "running" then
    says[#says + 1] = "it is " .. status
    changes[#changes + 1] = { what = what, before = status, after = "running" }
  end
  if #says == 0 then return nil end
  return table.concat(says, "; "), changes
end

---Creates the node, or makes sure that it is as declared and runs. Returns when it is ready.
---@return boolean changed
function Node:launch()
  local status = self:status()
  if status == "foreign" then refuse_foreign(self, "launch") end
  local changed = status == "absent"
  if changed then create(self) else changed = converge_limits(self) end
  local ok, problem = pcall(function()
    if start_instance(self) then
      self:close_shells()
      changed = true
    end
    pin_address(self, self:wait_until_ready())
    for lock in pairs(self.provider.locks) do lock:node_is_there(self.name) end
  end)
  if not ok then tell_what_is_there(self, problem) end
  return changed
end

---@return boolean changed
function Node:delete()
  local status = self:status()
  if status == "absent" then return false end
  if status == "foreign" then refuse_foreign(self, "delete") end
  for lock in pairs(self.provider.locks) do lock:node_goes(self.name) end
  self:close()
  self.the_address = nil
  return self:instance():delete()
end

---Starts (or thaws) and waits until it is ready.
---@return boolean changed
function Node:start()
  own_status(self, "start")
  local changed = start_instance(self)
  if changed then self.the_address = nil end
  self:wait_until_ready()
  return changed
end

---@param options? { force?: boolean, timeout?: number }
---@return boolean changed
function Node:stop(options)
  own_status(self, "stop")
  local changed = self:instance():stop(options)
  self:close_shells()
  return changed
end

---@return boolean changed
function Node:freeze()
  own_status(self, "freeze")
  return self:instance():freeze()
end

---@return boolean changed
function Node:thaw()
  own_status(self, "thaw")
  return self:instance():thaw()
end

---Cuts the node off from other nodes, silently and both ways, until heal or the next boot.
---@param options? { from?: string[], gateway?: boolean } names of nodes; default: all others of the inventory.
---gateway: also from what lies behind the default gateway, and from the host itself
function Node:cut(options)
  own_status(self, "cut")
  local provider, names = self.provider, options and options.from
  if not names then
    names = {}
    for name in pairs(provider.entries) do
      if name ~= self.name then names[#names + 1] = name end
    end
  end
  local addresses = {}
  for i, name in ipairs(names) do addresses[i] = provider:node(name):address() end
  partition.cut(self, addresses, options and options.gateway)
end

---Takes every cut back.
---@return boolean changed
function Node:heal()
  own_status(self, "heal")
  return partition.heal(self)
end

---@return string IPv4 address on the declared interface
function Node:address()
  if self.the_address then return self.the_address end
  local address = self:instance():address(self.provider.settings.nic)
  if not address then
    error.raise {
      kind = "network", operation = "address of " .. self.name, code = "EHOSTUNREACH", retryable = true,
      message = ("%s has no IPv4 address on %s now"):format(self.name, self.provider.settings.nic),
      hint = "is it running?",
    }
  end
  self.the_address = address
  return address
end

-- ------------------------------------------------------------------------------------------------------- commands

-- Ids as the guest knows them: the API takes numbers only.
local function look_up(self, user)
  if user == "root" then return { uid = 0, gid = 0, home = "/root" } end
  local known = self.users[user]
  if known then return known end
  local quoted = shell.quote(user)
  local result = self:run(("getent passwd %s || grep %s /etc/passwd"):format(quoted, shell.quote("^" .. user .. ":")),
    { check = false })
  local uid, gid, home = result.stdout:match "^[^:]*:[^:]*:(%d+):(%d+):[^:]*:([^:]*):"
  if not uid then
    error.raise {
      kind = "missing", operation = "run on " .. self.name, code = "user",
      message = ("%s has no user %s"):format(self.name, user), hint = "are the packages installed?",
    }
  end
  known = { uid = math.tointeger(uid), gid = math.tointeger(gid), home = home }
  self.users[user] = known
  return known
end

local function environment_of(self, user, known)
  local env = { HOME = known.home, USER = user, LOGNAME = user, LANG = "C.UTF-8", DEBIAN_FRONTEND = "noninteractive" }
  if user == self.provider.system_user then
    for name, value in pairs(self:environment()) do env[name] = value end
  end
  return env
end

-- The server's refusal to run a command, told as what it comes from.
local function where_it_can_run(self, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if error.is(result, "incus") then
    local status = self:status()
    if status ~= "running" then
      error.raise {
        kind = status == "absent" and "absent" or "state", operation = "run on " .. self.name, cause = result,
        message = ("%s is %s: nothing can run in it"):format(self.name, status),
      }
    end
  end
  rethrow(result, 0)
end

-- One shell for each user, opened when it is needed. PostgreSQL's user works in its own folder, privately.
local function shell_of(self, user)
  local found = self.shells[user]
  if found then return found end
  local prelude = "cd / || exit"
  if user == self.provider.system_user then
    prelude = ("umask 077; cd %s 2>/dev/null || cd /"):format(shell.quote(self:paths().base))
  end
  found = shell.new {
    name = ("%s as %s"):format(self.name, user), prelude = prelude,
    open = function()
      local known = look_up(self, user)
      local options = { user = known.uid, group = known.gid, env = environment_of(self, user, known) }
      return where_it_can_run(self, session.open, self.provider:client(), self.name, options)
    end,
  }
  self.shells[user] = found
  return found
end

function Node:close_shells()
  for _, open in pairs(self.shells) do open:close() end
end

---Ends what is open towards the node. Idempotent.
function Node:close()
  self:close_shells()
  for sentinel in pairs(self.sentinels) do sentinel:close() end
  self.sentinels = {}
end

local function fail_command(self, what, result)
  local lines = {}
  for line in result.stderr:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local last = table.concat(lines, "\n    ", math.max(1, #lines - ERROR_LINES + 1))
  error.raise {
    kind = "command", operation = "run on " .. self.name, code = tostring(result.code),
    command = what:match "^`(.*)`$" or what, result = result,
    message = ("%s ended with status %d%s"):format(what, result.code, last ~= "" and ":\n    " .. last or ""),
  }
end

---Runs a POSIX shell script in the node's open shell of that user.
---@param script string
---@param options? { user?: string, env?: table<string, string>, timeout?: number, stdin?: any, check?: boolean }
---@return { code: integer, stdout: string, stderr: string }
function Node:run(script, options)
  options = options or {}
  local result = shell_of(self, options.user or "root"):run(script, options)
  if options.check ~= false and result.code ~= 0 then
    fail_command(self, "`" .. (script:match "[^\n%s][^\n]*" or "an empty script") .. "`", result)
  end
  return result
end

---Runs one program as a process of its own.
---@param options table argv, and user, env, stdin, cwd, timeout, check
---@return { code: integer, stdout: string, stderr: string }
function Node:exec(options)
  local user = options.user or "root"
  local known = look_up(self, user)
  local env = environment_of(self, user, known)
  for name, value in pairs(options.env or {}) do env[name] = value end
  local command = table.move(options, 1, #options, 1, {})
  local result = where_it_can_run(self, exec.run, self.provider:client(), self.name, {
    command = command, env = env, user = known.uid, group = known.gid, cwd = options.cwd, stdin = options.stdin,
    timeout = options.timeout,
  })
  if options.check ~= false and result.code ~= 0 then
    fail_command(self, "`" .. table.concat(command, " ") .. "`", result)
  end
  return result
end

-- ---------------------------------------------------------------------------------------------------------- files

-- "DIGEST MODE USER GROUP" for each file, "-" for what is none.
local DESCRIBE = [[
for file do
  if [ -f "$file" ]; then
    digest=$(sha256sum <"$file") && echo "${digest%% *} $(stat -L -c '%04a %U %G' -- "$file")" || echo -
  else echo -; fi
done]]

---Digest, mode and owner of files, in one round trip; false for what is no file.
---@param list string[]
---@return table<string, { sha256: string, mode: string, user: string, group: string }|false>
function Node:files(list)
  local words = {}
  for i, path in ipairs(list) do words[i] = shell.quote(path) end
  local output = self:run(("set -- %s\n%s"):format(table.concat(words, " "), DESCRIBE)).stdout
  local found, i = {}, 0
  for line in output:gmatch "[^\n]+" do
    i = i + 1
    local digest, mode, user, group = line:match "^(%x+) (%d+) (%S+) (%S+)$"
    mode = mode and ("%04o"):format(tonumber(mode, 8))
    found[list[i]] = digest and { sha256 = digest, mode = mode, user = user, group = group } or false
  end
  return found
end

-- The new file is private, and belongs to whom it shall, before it gets its name.
local PUSH = [[
set -e; umask 077
new=$(mktemp "${path%/*}/.pgafrun.XXXXXX")
trap 'rm -f "$new"' EXIT
cat >"$new"
[ "$(wc -c <"$new")" = "$size" ]
chown "$owner" "$new"
chmod "$mode" "$new"
mv -fT "$new" "$path"
trap - EXIT]]

---Writes a file where it differs in content, mode or owner; atomically, and private from the first byte.
---@param path string absolute; its folder exists
---@param content string
---@param options? { mode?: string, user?: string, group?: string } default 0600, root, the user's name
---@return boolean changed
function Node:push(path, content, options)
  options = options or {}
  local mode, user = options.mode or "0600", options.user or "root"
  local group = options.group or user
  assert(path:match "^/" and mode:match "^[0-7]+$", "push wants an absolute path, and a mode such as \"0600\"")
  local now = self:files { path }[path]
  if now and now.sha256 == crypto.sha256(content) and tonumber(now.mode, 8) == tonumber(mode, 8)
    and now.user == user and now.group == group then
    return false
  end
  self:run(PUSH, {
    stdin = content,
    env = { path = path, owner = user .. ":" .. group, mode = mode, size = tostring(#content) },
  })
  return true
end

---The content of a file, read as root, also of a stopped node.
---@param path string
---@return string?
function Node:pull(path) return files.read(self.provider:client(), self.name, path) end

-- ---------------------------------------------------------------------------------------------------- supervision

---@return pgaf.Service
function Node:service()
  self.the_service = self.the_service or SystemdService.new(self)
  return self.the_service
end

local Sentinel = {}
Sentinel.__index = Sentinel

function Sentinel:__call()
  local data, reason
  repeat data, reason = self.process:read "1" until not data
  local at = time.now()
  self:close()
  if reason == "barrier" then return at end
  error.raise {
    kind = "network", operation = "watch " .. self.node.name, code = reason,
    message = ("the connection to the server broke (%s): whether %s died is unknown"):format(reason, self.node.name),
  }
end

function Sentinel:close()
  self.node.sentinels[self] = nil
  self.process:close()
end
Sentinel.__close = Sentinel.close

---Watches for the node's death by a process that does nothing: it is killed with all the others, which is told within
---some tens of milliseconds, where the server's own event comes most of a second later.
---@return fun(): number wait blocks until then and returns its time.now(); may be closed
function Node:watch_death()
  local process = exec.start(self.provider:client(), self.name, { command = { "sleep", "infinity" } })
  local sentinel = setmetatable({ node = self, process = process }, Sentinel)
  self.sentinels[sentinel] = true
  return sentinel
end

return Node
