-- A node of the incus provider: a container, its open shells, its files.

local rethrow = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local exec = require "pgaf.incus.exec"
local files = require "pgaf.incus.files"
local instance = require "pgaf.incus.instance"
local launch = require "pgaf.provider.incus_launch"
local layout = require "pgaf.provider.incus_layout"
local slow_line = require "pgaf.provider.line"
local partition = require "pgaf.provider.partition"
local session = require "pgaf.incus.session"
local shell = require "pgaf.shell"
local snapshot = require "pgaf.provider.incus_snapshot"
local SystemdService = require "pgaf.provider.systemd"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

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

---@param what string that is not done
function Node:refuse_foreign(what)
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
  if status == "foreign" then self:refuse_foreign(what) end
  if status == "absent" then
    error.raise {
      kind = "absent", operation = ("%s %s"):format(what, self.name), message = self.name .. " does not exist",
    }
  end
  return status
end

---Waits until it has an address and has booted.
---@return string address
function Node:wait_until_ready() return launch.wait_until_ready(self) end

---Does beforehand what launch will want of a running node.
function Node:warm_up() launch.warm_up(self) end

---What launch would change; reads only. nil: nothing.
---@return string? difference, pgaf.Change[]? changes
function Node:difference() return launch.difference(self) end

---Creates the node, or makes sure that it is as declared and runs. Returns when it is ready.
---@return boolean changed, string? what "launched", "changed its limits", "started", "pinned its address"
function Node:launch() return launch.launch(self) end

---@return boolean changed
function Node:delete()
  local status = self:status()
  if status == "absent" then return false end
  if status == "foreign" then self:refuse_foreign("delete") end
  for lock in pairs(self.provider.locks) do lock:node_goes(self.name) end
  self:close()
  self.the_address = nil
  return self:instance():delete()
end

---Starts (or thaws) and waits until it is ready.
---@return boolean changed
function Node:start()
  own_status(self, "start")
  local changed = launch.start_instance(self)
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

local function addresses_of(provider, names)
  local addresses = {}
  for i, name in ipairs(names) do addresses[i] = provider:node(name):address() end
  return addresses
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
  partition.cut(self, addresses_of(provider, names), options and options.gateway)
end

---Those nodes cannot reach this one's server any more, silently, until heal or the next boot; it reaches theirs.
---@param options { towards: string[] } names of nodes
function Node:mute(options)
  own_status(self, "mute")
  partition.mute(self, addresses_of(self.provider, options.towards), self.entry.port)
end

---What this node sends to those gets slow, lossy or narrow, until heal or the next boot.
---@param options { towards: string[], line: pgaf.Line } names of nodes
function Node:slow(options)
  own_status(self, "slow")
  slow_line.slow(self, addresses_of(self.provider, options.towards), options.line)
end

---Why `slow` cannot be done here; nil when it can. Touches nothing.
---@param wanted pgaf.Line
---@return string? reason
function Node:cannot_slow(wanted) return slow_line.refusal(self, wanted) end

---Takes back every cut, muting and slow line.
---@return boolean changed
function Node:heal()
  own_status(self, "heal")
  local slow = slow_line.heal(self)
  return partition.heal(self) or slow
end

---Why it cannot have a snapshot without being frozen for it; nil when it can. Touches nothing.
---@return string? reason
function Node:cannot_snapshot() return snapshot.refusal(self) end

---@param name string
---@return boolean changed
function Node:snapshot(name)
  own_status(self, "snapshot")
  return self:instance():snapshot(name)
end

---Back to a snapshot: disk, config and devices. It has to be stopped.
---@param name string
function Node:restore_snapshot(name)
  own_status(self, "restore a snapshot of")
  snapshot.restore(self, name)
end

---@param name string
---@return boolean changed
function Node:remove_snapshot(name)
  own_status(self, "remove a snapshot of")
  return self:instance():delete_snapshot(name)
end

---It may be another from now on.
function Node:forget_address() self.the_address = nil end

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

---The same; nil while it has none, or is not there.
---@return string?
function Node:known_address()
  local ok, address = pcall(self.address, self)
  if ok then return address end
  task.check()
  if not error.is(address) then rethrow(address, 0) end
  return nil
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
  self.has_booted = false
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

-- "DIGEST MODE USER GROUP" for each file, "-" for what is none, such as a link: what is pushed takes its place.
local DESCRIBE = [[
for file do
  if [ -f "$file" ] && [ ! -L "$file" ]; then
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
---@param options? { mode?: string, user?: string, group?: string } default 0600, root, the user's own group
---@return boolean changed
function Node:push(path, content, options)
  options = options or {}
  local mode, user, group = options.mode or "0600", options.user or "root", options.group
  assert(path:match "^/" and mode:match "^[0-7]+$", "push wants an absolute path, and a mode such as \"0600\"")
  local now = self:files { path }[path]
  if now and now.sha256 == crypto.sha256(content) and tonumber(now.mode, 8) == tonumber(mode, 8)
    and now.user == user and (not group or now.group == group) then
    return false
  end
  self:run(PUSH, {
    stdin = content,
    env = { path = path, owner = user .. ":" .. (group or ""), mode = mode, size = tostring(#content) },
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
