-- A node at the prompt: `nodes["pgaf-1"]`, `monitor`, or whichever takes writes: `primary()`.

local error = require "pgafrun.error"
local guard = require "pgaf.repl.guard"
local inspect = require "pgaf.repl.inspect"
local quote = require "pgaf.quote"
local rows = require "pgaf.repl.rows"
local server = require "pgaf.postgres.server"

local LOG_LINES = 20
local SQL_SECONDS = 300
local EXEC_SECONDS = 300

---@class pgaf.repl.Node
---@field name string
---@field member pgaf.Member
---@field node pgaf.Node the provider's, for all that is not here
---@field scene pgaf.repl.Scene
local Node = {}
Node.__index = Node
Node.__name = "node"

local node = { methods = Node }

---@param scene pgaf.repl.Scene
---@param member pgaf.Member
---@return pgaf.repl.Node
function node.new(scene, member)
  return setmetatable({ name = member.name, member = member, node = member.node, scene = scene }, Node)
end

function Node.__repl(self)
  local entry = self.member.entry
  return ("%s %s: %s, port %s"):format(self.member.role == "monitor" and "monitor" or "node", self.name,
    self.node:status(), tostring(entry.port))
end

-- -------------------------------------------------------------------------------------------------------- commands

---@class pgaf.repl.Output
---@field code integer
---@field stdout string
---@field stderr string
local Output = {}

function Output.__repl(self)
  local parts = {}
  for _, text in ipairs { self.stdout, self.stderr } do
    if text ~= "" then parts[#parts + 1] = (inspect.plain(text):gsub("\n$", "")) end
  end
  if self.code ~= 0 then parts[#parts + 1] = "exit status " .. tostring(self.code) end
  return table.concat(parts, "\n")
end

-- A shell that was lost since the last command is opened anew by the provider; whoever works here shall know.
local function tell_new_shell(self, user, before)
  local shell = self.node.shells and self.node.shells[user]
  if shell and before and shell.generation > before then
    self.scene.say(("the connection to %s had been lost; there is a new one"):format(self.name))
  end
end

---Runs a shell script on the node. A status other than 0 is an error of kind "command", unless check is false.
---@param script string
---@param options? { user?: string, timeout?: number, check?: boolean, env?: table<string, string> } timeout: 300 s
---@return pgaf.repl.Output
function Node:exec(script, options)
  self.scene.guard:allow(("run `%s` on %s"):format(script:match "[^\n]*", self.name))
  options = setmetatable({ timeout = options and options.timeout or EXEC_SECONDS }, { __index = options })
  local user = options.user or "root"
  local shell = self.node.shells and self.node.shells[user]
  local before = shell and shell.generation
  local result = self.node:run(script, options)
  tell_new_shell(self, user, before)
  return setmetatable({ code = result.code, stdout = result.stdout, stderr = result.stderr }, Output)
end

-- --------------------------------------------------------------------------------------------------------------- SQL

local RETURNS = { select = true, show = true, explain = true, table = true, values = true, with = true, fetch = true }

-- Several statements, and what cannot be read as rows, are shown as psql shows them.
local function has_rows(sql)
  local text = sql:lower():gsub("%-%-[^\n]*", " "):gsub("/%*.-%*/", " ")
  if text:find ";%s*%S" then return nil end
  return RETURNS[text:match "^[%s(]*(%a+)"] or text:find "%f[%w]returning%f[%W]" ~= nil
end

local PSQL = [[psql -X %s -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -p %d -d %s -f -]]
local AS_ROWS = [[--csv -q -P 'null=\N']]

local function refuse(self, result)
  local code, message, hint = server.read_error(result.stderr)
  error.raise {
    kind = "postgres", operation = "sql on " .. self.name, code = code, hint = hint,
    message = message or ("psql ended with status %s"):format(tostring(result.code)),
  }
end

---Runs SQL as the superuser, over the node's own socket, also on a standby.
---@param sql string
---@param options? { database?: string, timeout?: number } default: the application's database, or the monitor's; 300 s
---@return pgaf.repl.Rows
function Node:sql(sql, options)
  options = options or {}
  local reads = guard.only_reads(sql)
  if not reads then self.scene.guard:allow(("run `%s` on %s"):format(sql:match "[^\n]*", self.name)) end
  local is_monitor = self.member.role == "monitor"
  local database = options.database or is_monitor and "pg_auto_failover" or self.scene.inventory.application.database
  local production = self.scene.inventory.environment == "production"
  local with_rows = has_rows(sql)
  local command = PSQL:format(with_rows and AS_ROWS or "", self.member.entry.port, quote.sh(database))
  local result = self.node:run(command, {
    user = self.member.owner, stdin = sql .. "\n;\n", timeout = options.timeout or SQL_SECONDS, check = false,
    env = { PGOPTIONS = production and reads and "-c default_transaction_read_only=on" or "" },
  })
  if result.code ~= 0 then refuse(self, result) end
  if with_rows then return rows.of_csv(result.stdout) end
  return rows.of_tag((result.stdout:gsub("%s+$", "")))
end

-- -------------------------------------------------------------------------------------------------------------- logs

---The last lines of pg_autoctl's log; with follow, those and then each as it is written, until Ctrl-C.
---@param options? { lines?: integer, follow?: boolean } lines: default 20
---@return pgaf.repl.Output?
function Node:logs(options)
  options = options or {}
  local service, lines = self.node:service(), options.lines or LOG_LINES
  if not options.follow then return setmetatable({ code = 0, stdout = service:logs(lines), stderr = "" }, Output) end
  local stream <close> = service:follow(lines)
  while true do
    local line = stream:next()
    if not line then return end
    self.scene.say(inspect.plain(line))
  end
end

-- -------------------------------------------------------------------------------------------------------------- power

---@return "absent"|"running"|"stopped"|"frozen"|"foreign"
function Node:status() return self.node:status() end

---What the monitor knows of it.
---@return pgaf.NodeState?
function Node:state()
  for _, row in ipairs(self.scene:state().nodes) do
    if row.name == self.name then return row end
  end
end

local function power(name, what)
  return function(self, ...)
    self.scene.guard:allow(("%s %s"):format(what, self.name))
    return self.node[name](self.node, ...)
  end
end

---Powers the node on.
Node.start = power("start", "start")
---Powers the node off.
---@param options? { force?: boolean, timeout?: number } force: without asking anything in it
Node.stop = power("stop", "stop")
---Stops all its processes where they are.
Node.freeze = power("freeze", "freeze")
---Lets them go on.
Node.thaw = power("thaw", "thaw")

return node
