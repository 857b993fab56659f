-- The right to change a formation, in two layers:
--
-- 1. A file lock on this machine, gone with the process however it ends.
-- 2. A lease in the config of the monitor's instance (user.pgaf.lock), against other machines. It runs out by itself
--    when it is not renewed, and one whose holder was a process of this machine that no longer lives is taken over.
--
-- While there is no monitor there is only the first; the lease is made together with the instance.
--
-- Who only looks needs no lease, and may find that there is nothing to change: then nothing is written at all. Whoever
-- gives a lease back leaves a record of having had it, so that one who has looked meanwhile notices.

local rethrow = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local KEY = "user.pgaf.lock"
local LEASE_SECONDS = 60
local RENEW_SECONDS = 15
-- Without a task group nobody renews it.
local LONG_LEASE_SECONDS = 3600
-- For who was interrupted, and puts things back: the group, and with it the renewal, has ended.
local PUT_BACK_SECONDS = 900
local CLOSE_SECONDS = 5

---@class pgaf.provider.Lock
---@field provider pgaf.incus.Provider
---@field what string
---@field token string tells our lease from that of any other
---@field leased boolean
---@field seen string? what the lease was when we looked, until we hold it ourselves
local Lock = {}
Lock.__index = Lock

local lease = { KEY = KEY }

-- ------------------------------------------------------------------------------------------------------- the record

---Who holds a lease, and for how long, as text.
---@param what string is being done
---@param token string tells the holder's own record
---@param since string
---@param seconds number
---@return string
function lease.record(what, token, since, seconds)
  local me = process.self()
  return json.encode {
    holder = ("%s@%s"):format(me.user, me.host), pid = me.pid, start_time = me.start_time, boot_id = me.boot_id,
    what = what, token = token, since = since, expires = math.ceil(time.wall() + seconds),
  }
end

local function record_of(self, seconds)
  return lease.record(self.what, self.token, self.since,
    seconds or self.provider.group and LEASE_SECONDS or LONG_LEASE_SECONDS)
end

---Whether a lease no longer binds anybody.
---@param held table a decoded record
---@return boolean
function lease.is_over(held)
  if type(held.expires) ~= "number" or held.expires < time.wall() then return true end
  if held.boot_id ~= process.self().boot_id or math.type(held.pid) ~= "integer" then return false end
  return process.start_time(held.pid) ~= held.start_time
end

local function decode(text)
  if not text or text == "" then return nil end
  local ok, held = pcall(json.decode, text)
  return ok and type(held) == "table" and held or nil
end

local function refuse(self, holder, hint)
  error.raise {
    kind = "locked", operation = self.what, retryable = true,
    message = ("formation %s is being changed by %s"):format(self.provider.formation, holder),
    hint = hint or "wait until that run has ended, or end it",
  }
end

local function refuse_held(self, held)
  refuse(self, ("%s, process %s, since %s: %s"):format(held.holder, held.pid, held.since, held.what),
    ("wait until that run has ended; if that machine is gone, the lock ends by itself within %d s"):format(
      math.max(1, math.ceil(held.expires - time.wall()))))
end

-- --------------------------------------------------------------------------------------------------------- the lease

-- Refuses when somebody else holds the lease, or has held it since this run began to look: what it has seen may be so
-- no longer. Returns what the instance carries.
local function refuse_unless_free(self, object)
  local text = object and object.config[KEY] or ""
  local record = decode(text)
  if record and record.token == self.token then return text end
  if record and not lease.is_over(record) then refuse_held(self, record) end
  if not self.seen or text == self.seen then return text end
  error.raise {
    kind = "locked", operation = self.what, retryable = true,
    message = ("formation %s was changed while this run was looking at it, by %s"):format(
      self.provider.formation, record and ("%s: %s"):format(record.holder, record.what) or "somebody unknown"),
    hint = "run it again",
  }
end

local function look(self)
  local provider = self.provider
  self.seen = refuse_unless_free(self, provider:node(provider.monitor_name):instance():get())
end

-- Writes our record where nobody else's binds. Returns false when there is no instance of ours to write it on.
local function write(self, seconds)
  local provider = self.provider
  local node = provider:node(provider.monitor_name)
  local ok, result = pcall(function()
    return node:instance():update(function(object)
      if provider:status_of(object, node.name) == "foreign" then return nil end
      refuse_unless_free(self, object)
      return { config = { [KEY] = record_of(self, seconds) } }
    end)
  end)
  if ok then return result end
  if error.is(result, "absent") then return false end
  rethrow(result, 0)
end

local function raise_lost(self, cause)
  error.raise {
    kind = "locked", operation = self.what, cause = cause,
    message = ("the lock on formation %s could not be renewed and runs out"):format(self.provider.formation),
    hint = "run it again when the server answers again",
  }
end

-- Runs in the provider's group: when the lease is lost to somebody else, the whole group ends.
local function renew(self)
  local written = time.now()
  while self.leased and not self.closed do
    self.changed:wait(self.provider.lock_renewal or RENEW_SECONDS)
    if self.closed or not self.leased then return end
    local ok, result = pcall(write, self)
    if ok then
      if not result then self.leased = false end -- the instance is gone, and the lease with it
      written = time.now()
    else
      task.check()
      if error.is(result, "locked") then rethrow(result, 0) end
      if time.now() - written > LEASE_SECONDS - RENEW_SECONDS then raise_lost(self, result) end
      log.warn("the lock's lease could not be renewed; trying again", { why = tostring(result) })
    end
  end
end

local function keep_renewing(self)
  self.leased = true
  if not self.provider.group or self.renewal then return end
  self.renewal = self.provider.group:spawn_named("lock renewal", function()
    local ok, problem = pcall(renew, self)
    self.renewal = nil
    if ok or self.closed then return end
    if error.is(problem, "cancelled") then task.shield(CLOSE_SECONDS, pcall, write, self, PUT_BACK_SECONDS) end
    rethrow(problem, 0)
  end)
end

---Called before anything is changed; the first call writes the lease. Raises kind "locked" when somebody else has it,
---or has had it since this run began to look.
function Lock:hold()
  while self.holding do self.changed:wait() end
  if self.is_held then return end
  self.holding = true
  local ok, result = pcall(write, self)
  self.holding, self.is_held = false, ok
  self.changed:notify()
  if not ok then rethrow(result, 0) end
  self.seen = nil
  if result then keep_renewing(self) end
end

---Puts the lease into the config of an instance that is about to be made.
---@param name string
---@param config table<string, string>
function Lock:add_to(name, config)
  if name == self.provider.monitor_name then config[KEY] = record_of(self) end
end

---Called when a node has been made: from now on the monitor's instance carries the lease.
---@param name string
function Lock:node_is_there(name)
  if name ~= self.provider.monitor_name or not self.is_held or self.leased then return end
  if write(self) then keep_renewing(self) end
end

---Called before a node is deleted: the lease goes with the monitor's instance.
---@param name string
function Lock:node_goes(name)
  if name ~= self.provider.monitor_name then return end
  self.leased = false
  self.changed:notify()
end

local function release(self)
  local provider = self.provider
  local node = provider:node(provider.monitor_name)
  node:instance():update(function(object)
    local held = decode(object.config[KEY])
    if not held or held.token ~= self.token then return nil end
    held.expires = 0
    return { config = { [KEY] = json.encode(held) } }
  end)
end

---Gives the right back. Idempotent.
function Lock:close()
  if self.closed then return end
  self.closed = true
  self.provider.locks[self] = nil
  self.changed:notify()
  if self.leased then
    local ok, problem = pcall(task.shield, CLOSE_SECONDS, release, self)
    if not ok and not error.is(problem, "absent") then
      log.warn("the lock's lease could not be given back; it runs out by itself", { why = tostring(problem) })
    end
  end
  self.file:close()
end
Lock.__close = Lock.close

-- ---------------------------------------------------------------------------------------------------- the file lock

-- For all users of the machine there is the lease; this one is against a second run of the same user.
local function lock_path(provider)
  local runtime = process.getenv "XDG_RUNTIME_DIR"
  local folder = runtime and runtime ~= "" and fs.stat(runtime) and runtime .. "/pgafrun"
  if not folder then
    local state, home = process.getenv "XDG_STATE_HOME", process.getenv "HOME"
    if not home and not state then
      error.raise {
        kind = "config", operation = "lock", message = "no folder for lock files: HOME is not set",
        hint = "set HOME, XDG_STATE_HOME or XDG_RUNTIME_DIR",
      }
    end
    folder = (state and state ~= "" and state or home .. "/.local/state") .. "/pgafrun"
  end
  fs.mkdir(folder)
  local client = provider:client()
  local name = table.concat({ client.server.name, client.project, provider.formation }, "~"):gsub("[^%w%-._~]", "_")
  return ("%s/%s.lock"):format(folder, name)
end

---Takes both layers; with `later` the lease only when something is about to be changed (Lock:hold). Raises kind
---"locked".
---@param provider pgaf.incus.Provider
---@param what string
---@param later? boolean
---@return pgaf.provider.Lock
function lease.take(provider, what, later)
  local self = setmetatable({
    provider = provider, what = what, token = crypto.random_hex(8), since = time.iso(), leased = false,
    changed = task.condition(),
  }, Lock)
  local me = process.self()
  local text = ("%s@%s, process %d, since %s: %s"):format(me.user, me.host, me.pid, self.since, what)
  local file, holder = fs.lock(lock_path(provider), text)
  if not file then refuse(self, holder) end
  self.file = file
  local ok, result = pcall(later and look or Lock.hold, self)
  if not ok then
    file:close()
    rethrow(result, 0)
  end
  return self
end

return lease
