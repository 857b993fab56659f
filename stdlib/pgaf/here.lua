-- The machine that pgafrun runs on, as a target of plays: what "connection: local" is elsewhere.
--
--     local here = require "pgaf.here"
--     local p = play.new { title = "This machine", targets = { here.target() } }
--
-- It runs as whoever runs pgafrun; another user's commands are for root to run.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local facts = require "pgaf.facts"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local quote = require "pgaf.quote"

local here = {}

local DEFAULT_SECONDS = 60
local ERROR_LINES = 10

local Node = {}
Node.__index = Node

function Node.status() return "running" end
function Node.address() return "127.0.0.1" end
function Node.paths() return { run = "/run/postgresql" } end

local function fail(self, what, result)
  local lines = {}
  for line in result.stderr:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local last = table.concat(lines, "\n    ", math.max(1, #lines - ERROR_LINES + 1))
  error.raise {
    kind = "command", operation = "run on " .. self.name, command = what, result = result,
    code = tostring(result.code or "signal " .. tostring(result.signal)),
    message = ("`%s` ended with %s%s"):format(what,
      result.code and "status " .. result.code or "signal " .. tostring(result.signal),
      last ~= "" and ":\n    " .. last or ""),
  }
end

-- "root" is what resources say when they mean whoever the node belongs to: here that is ourselves.
local function as_user(self, user, argv)
  if not user or user == "root" or user == self.user then return argv end
  if self.user ~= "root" then
    error.raise {
      kind = "config", operation = "run on " .. self.name, code = "user",
      message = ("only root can run commands of %s; this is %s"):format(user, self.user),
    }
  end
  return table.move(argv, 1, #argv, 5, { "runuser", "-u", user, "--" })
end

local function start(self, argv, options, what)
  local command = as_user(self, options.user, argv)
  command.extend_env, command.stdin, command.cwd = options.env, options.stdin, options.cwd
  if type(command.stdin) == "function" then command.stdin = command.stdin() end
  command.timeout = options.timeout or DEFAULT_SECONDS
  local result = process.run(command)
  if options.check ~= false and result.code ~= 0 then fail(self, what, result) end
  return result
end

---Runs a POSIX shell script. It travels in the environment, which is this user's alone to read.
---@param script string
---@param options? table user, env, stdin, timeout, check
---@return { code: integer?, stdout: string, stderr: string }
function Node:run(script, options)
  local env = { PGAFRUN_SCRIPT = script }
  for name, value in pairs(options and options.env or {}) do env[name] = value end
  local with_script = setmetatable({ env = env, cwd = "/" }, { __index = options })
  return start(self, {
    "sh", "-c", 'pgafrun_script=$PGAFRUN_SCRIPT; unset PGAFRUN_SCRIPT; eval "$pgafrun_script"',
  }, with_script, script:match "[^\n%s][^\n]*" or "an empty script")
end

---Runs one program.
---@param options table argv, and user, env, stdin, cwd, timeout, check
---@return { code: integer?, stdout: string, stderr: string }
function Node:exec(options)
  local argv = table.move(options, 1, #options, 1, {})
  return start(self, argv, options, table.concat(options, " "))
end

---Digest, mode and owner of files; false for what is no file.
---@param list string[]
---@return table<string, { sha256: string, mode: string, user: string, group: string }|false>
function Node:files(list)
  local found = {}
  for _, path in ipairs(list) do
    local word = quote.sh(path)
    local described = self:run(("[ -f %s ] && [ ! -L %s ] && stat -c '%%a %%U %%G' -- %s"):format(word, word, word),
      { check = false }).stdout
    local mode, user, group = described:match "^(%d+) (%S+) (%S+)"
    found[path] = mode and {
      sha256 = crypto.sha256(fs.read(path)), mode = ("%04o"):format(tonumber(mode, 8)), user = user, group = group,
    } or false
  end
  return found
end

---Writes a file where it differs in content, mode or owner; old or new, never half.
---@param path string absolute; its folder exists
---@param content string
---@param options? { mode?: string, user?: string, group?: string }
---@return boolean changed
function Node:push(path, content, options)
  options = options or {}
  local mode, user = ("%04o"):format(tonumber(options.mode or "0600", 8)), options.user or self.user
  local now = self:files({ path })[path]
  if now and now.sha256 == crypto.sha256(content) and now.mode == mode and now.user == user and
    (not options.group or now.group == options.group) then
    return false
  end
  fs.write(path, content, { mode = tonumber(mode, 8) })
  if user ~= self.user or options.group then
    self:run(("chown -- %s %s && chmod -- %s %s"):format(
      quote.sh(user .. ":" .. (options.group or "")), quote.sh(path), mode, quote.sh(path)))
  end
  return true
end

---@param path string
---@return string? content
function Node:pull(path)
  local found = fs.stat(path)
  return found and fs.read(path) or nil
end

---This machine as a target. Several of them, under several names, may stand for several machines in an example.
---@param name? string default: the machine's own name
---@return pgaf.Target
function here.target(name)
  local me = process.self()
  local node = setmetatable({ name = name or me.host, hostname = me.host, user = me.user }, Node)
  return { name = node.name, node = node, facts = facts.new(node, 5432) }
end

return here
