-- pg_autoctl on a local node: a detached process tree instead of a systemd unit.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local log_stream = require "pgaf.provider.log_stream"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local tree = require "pgaf.provider.process_tree"

local PRIVATE_UMASK = tonumber("77", 8)
local LOG_TAIL_BYTES = 64 * 1024
local LOG_LOOK_SECONDS = 0.2

---@class pgaf.local.Service: pgaf.Service
local Service = {}
Service.__index = Service

function Service.new(node)
  return setmetatable({ node = node, file = node.base .. "/.service.json" }, Service)
end

function Service:is_installed() return fs.stat(self.file) ~= nil end

--- Remembers that the node runs pg_autoctl when it is powered on.
function Service:install(options)
  local wanted = json.encode { description = options.description } .. "\n"
  if self:is_installed() and fs.read(self.file) == wanted then return false end
  fs.write(self.file, wanted)
  return true
end

-- `pg_autoctl create` has the same pid file, and goes on for a while when its pgafrun was killed: it is no service,
-- unless it was told to go on as one.
local function is_service(words)
  for _, word in ipairs(words) do
    if word == "run" or word == "--run" then return true end
  end
  return false
end

function Service:pid()
  local pid = tree.read_pid(self.node:paths().pidfile)
  return pid and tree.lives_in(pid, self.node.base) and is_service(tree.words(pid)) and pid or nil
end

---@return "running"|"stopped"|"failed" status, string? detail
function Service:status()
  if self:pid() then return "running" end
  return "stopped"
end

-- What a killed pg_autoctl leaves: its children live on and work on, and would fight those of the next one for the same
-- server. systemd ends what is left of a service before it starts it again.
local OURS = { pg_autoctl = true, postgres = true }

-- pg_autoctl takes a zombie for a living instance, and a stale postmaster.pid for a running server.
local function clear_leftovers(node)
  local paths = node:paths()
  local files = { paths.pidfile, paths.pgdata .. "/postmaster.pid" }
  for _, name in ipairs(fs.list(paths.run)) do
    if name:match "^%.s%.PGSQL%.%d+%.lock$" then files[#files + 1] = paths.run .. "/" .. name end
  end
  for _, path in ipairs(files) do
    local pid = tree.read_pid(path)
    if fs.stat(path) and not (pid and tree.lives_in(pid, node.base)) then fs.remove(path) end
  end
end

function Service:start(command)
  if self:pid() then return end
  local node = self.node
  local paths = node:paths()
  tree.kill(node.base, OURS)
  clear_leftovers(node)
  local options = { env = node:environment(), cwd = node.base, output = paths.log, umask = PRIVATE_UMASK }
  command = command or { "pg_autoctl", "run", "--pgdata", paths.pgdata }
  local child = process.daemon(table.move(command, 1, #command, 1, options))
  for _ = 1, 500 do
    if self:pid() then return end
    local ended = child:wait(0.01)
    if ended then
      error.raise {
        kind = "command", operation = "start pg_autoctl on " .. node.name, code = tostring(ended.code or ended.signal),
        message = ("%s %s ended at once with %s:\n    %s"):format(command[1], command[2],
          tostring(ended.code or ("signal " .. ended.signal)), (self:logs(8):gsub("\n", "\n    "))),
        hint = "the whole log: " .. paths.log,
      }
    end
  end
  error.raise {
    kind = "timeout", operation = "start pg_autoctl on " .. node.name, message = "no pid file within 5 s",
    hint = "see " .. paths.log,
  }
end

--- Asks pg_autoctl to stop PostgreSQL and itself, and waits for it.
function Service:stop()
  local pid = self:pid()
  if not pid then return end
  process.kill(pid, "TERM")
  while tree.is_alive(pid) do task.sleep(0.02) end
end

function Service:restart()
  self:stop()
  self:start()
end

--- It is not started when the node is powered on any more; install takes that back. Stops nothing.
function Service:disable() fs.remove(self.file) end

-- The end of the log's file, and where it was reached.
local function log_tail(self)
  local file = io.open(self.node:paths().log)
  if not file then return "", 0 end
  local size = file:seek("end")
  file:seek("set", math.max(0, size - LOG_TAIL_BYTES))
  local text = file:read("a")
  file:close()
  return text, math.max(0, size - LOG_TAIL_BYTES) + #text
end

--- The last lines of pg_autoctl's output.
function Service:logs(lines)
  return (log_stream.tail((log_tail(self)), lines or 20):gsub("\n$", ""))
end

--- The last lines with when each was written.
---@param lines integer
---@return { at: number, text: string }[] at: seconds since the epoch
function Service:entries(lines)
  local stat = fs.stat(self.node:paths().log)
  local texts = {}
  for line in self:logs(lines):gmatch("[^\n]+") do texts[#texts + 1] = line end
  return log_stream.dated(texts, stat and stat.mtime or 0)
end

--- The last lines, and then each as it is written.
---@param lines integer
---@return pgaf.LogStream
function Service:follow(lines)
  local path = self.node:paths().log
  local text, at = log_tail(self)
  local first = log_stream.tail(text, lines)
  return log_stream.new(function()
    if first then
      text, first = first, nil
      return text
    end
    while true do
      local file = io.open(path)
      if file then
        if file:seek("end") < at then at = 0 end -- another file has its name now
        file:seek("set", at)
        text = file:read("a")
        file:close()
        at = at + #text
        if text ~= "" then return text end
      end
      task.sleep(LOG_LOOK_SECONDS)
    end
  end, function() end)
end

return Service
