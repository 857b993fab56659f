-- pg_autoctl in a container, under systemd.

local error = require "pgafrun.error"
local exec = require "pgaf.incus.exec"
local json = require "pgafrun.json"
local log_stream = require "pgaf.provider.log_stream"

local UNIT = "pgautofailover.service"
local PATH = "/etc/systemd/system/" .. UNIT
-- What the next start is to run instead of `run`.
local NEXT = "/run/pgautofailover.next"
local START_TIMEOUT = 90
-- A stop waits for PostgreSQL's shutdown checkpoint.
local STOP_TIMEOUT = 150

---@class pgaf.systemd.Service: pgaf.Service
---@field node pgaf.incus.Node
local Service = {}
Service.__index = Service

function Service.new(node) return setmetatable({ node = node }, Service) end

-- A power cut leaves two pid files behind. pg_autoctl takes any process of that number for itself, and PostgreSQL any
-- of its user's: the first is removed, the second unless its process works in PGDATA.
--
-- A node begins as `create ... --run`, by a file that lives as long as that process. A drop-in would say the same, and
-- take systemd a second to read.
-- luacheck: push no max line length
local TEMPLATE = [[
# Written by pgafrun.
[Unit]
Description=$description
Documentation=https://pg-auto-failover.readthedocs.io/
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
User=postgres
Group=postgres
WorkingDirectory=$base
EnvironmentFile=$environment
Environment="PGAF_COMMAND=run --pgdata $pgdata"
EnvironmentFile=-$next
Environment=PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0
UMask=0077
ExecStartPre=/bin/sh -c 'f=$$PGDATA/postmaster.pid; [ ! -e "$$f" ] || [ "$$(readlink "/proc/$$(head -n 1 "$$f")/cwd")" = "$$PGDATA" ] || rm -f "$$f"; rm -f $pidfile'
ExecStart=/usr/bin/pg_autoctl $PGAF_COMMAND
ExecStopPost=+/bin/rm -f $next
ExecReload=/usr/bin/pg_autoctl reload --pgdata $pgdata
Restart=on-failure
RestartSec=2
KillMode=mixed
TimeoutStopSec=120
LimitNOFILE=65536
OOMScoreAdjust=-900
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
]]
-- luacheck: pop

local function unit_text(node, description)
  local paths = node:paths()
  local values = {
    description = description, base = paths.base, pgdata = paths.pgdata, pidfile = paths.pidfile,
    environment = paths.environment, next = NEXT,
  }
  return (TEMPLATE:gsub("%$(%l+)", values))
end

local function environment_text(node)
  local environment, lines = node:environment(), {}
  for name, value in pairs(environment) do lines[#lines + 1] = ("%s=%s"):format(name, value) end
  table.sort(lines)
  return ("# Written by pgafrun. By hand: set -a; . %s\n%s\n"):format(
    node:paths().environment, table.concat(lines, "\n"))
end

---The files that make the service, for whoever compares them together with others.
---@param options? { description?: string }
---@return { path: string, content: string, mode: string }[]
function Service:files(options)
  local node = self.node
  local description = options and options.description or "pg_auto_failover node " .. node.name
  return {
    { path = node:paths().environment, content = environment_text(node), mode = "0644" },
    { path = PATH, content = unit_text(node, description), mode = "0644" },
  }
end

---Writes unit and environment where they differ, and enables the unit. Starts nothing.
---@param options? { description?: string }
---@return boolean changed
function Service:install(options)
  local node = self.node
  node:run(("mkdir -p -m 0755 %s"):format(node:paths().environment:match "^(.+)/"))
  local changed = false
  for _, file in ipairs(self:files(options)) do
    if node:push(file.path, file.content, { mode = file.mode }) then changed = true end
  end
  local enabled = node:run("systemctl is-enabled --quiet " .. UNIT, { check = false }).code == 0
  if changed or not enabled or not Service.read(node:run(Service.QUESTION).stdout).ready then
    node:run(("systemctl daemon-reload && systemctl --quiet enable %s"):format(UNIT))
    changed = true
  end
  return changed
end

---The command whose output `read` understands, for whoever asks a node several things at once.
Service.QUESTION = ("systemctl show %s -p LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts," ..
  "UnitFileState,NeedDaemonReload"):format(UNIT)

-- What systemd knows of the unit, by name.
local function properties(output)
  local found = {}
  for name, value in output:gmatch "(%w+)=([^\n]*)" do found[name] = value end
  return found
end

function Service:is_installed() return properties(self.node:run(Service.QUESTION).stdout).LoadState == "loaded" end

local function status_of(unit)
  local detail = ("%s (%s), result %s, status %s, %s restarts"):format(unit.ActiveState or "?", unit.SubState or "?",
    unit.Result or "?", unit.ExecMainStatus or "?", unit.NRestarts or "?")
  if unit.ActiveState == "active" or unit.ActiveState == "reloading" then return "running", detail end
  -- Between two tries it is "activating (auto-restart)": it has failed, though systemd will try again.
  if unit.ActiveState == "failed" or unit.SubState == "auto-restart" then return "failed", detail end
  return "stopped", detail
end

---@return "running"|"stopped"|"failed" status, string detail
function Service:status() return status_of(properties(self.node:run(Service.QUESTION).stdout)) end

---What the output of QUESTION says.
---@param output string
---@return { status: "running"|"stopped"|"failed", detail: string, ready: boolean } ready: enabled, and known to
---systemd as it is on disk
function Service.read(output)
  local unit = properties(output)
  local status, detail = status_of(unit)
  return {
    status = status, detail = detail, ready = unit.UnitFileState == "enabled" and unit.NeedDaemonReload ~= "yes",
  }
end

local function change(self, verb, wanted, timeout)
  local result = self.node:run(("systemctl %s %s"):format(verb, UNIT), { check = false, timeout = timeout })
  local status, detail = self:status()
  if status == wanted or (wanted == "stopped" and status == "failed") then return end
  error.raise {
    kind = "command", operation = ("%s pg_autoctl on %s"):format(verb, self.node.name), code = tostring(result.code),
    message = ("%s is %s:\n    %s"):format(UNIT, detail, (self:logs(8):gsub("\n", "\n    "))),
    hint = ("incus exec %s -- journalctl -u %s"):format(self.node.name, UNIT),
  }
end

---Starts it. With a command, this one time it runs that instead of `run`: a `create` that goes on as the service.
---@param command? string[] its first word is pg_autoctl
function Service:start(command)
  if command then
    local words = table.concat(command, " ", 2)
    -- systemd takes a line apart at its blanks and quotes; names and paths of a node have none
    assert(not words:find "[\"'\\$\n]", words)
    self.node:push(NEXT, ("PGAF_COMMAND=%s\n"):format(words), { mode = "0644" })
  end
  change(self, "start", "running", START_TIMEOUT)
end

function Service:stop() change(self, "stop", "stopped", STOP_TIMEOUT) end

function Service:restart() change(self, "restart", "running", START_TIMEOUT + STOP_TIMEOUT) end

---It is not started at boot any more; install takes that back. Stops nothing.
function Service:disable() self.node:run("systemctl --quiet disable " .. UNIT) end

local function journal(lines, output, more)
  return ("journalctl --unit %s --lines %d --no-pager --output %s%s"):format(UNIT, lines, output, more or "")
end

---The last lines that pg_autoctl wrote.
---@param lines? integer
---@return string
function Service:logs(lines)
  return (self.node:run(journal(lines or 20, "cat")).stdout:gsub("\n$", ""))
end

-- The journal gives what is not UTF-8 as a list of bytes.
local function text_of(message)
  if type(message) ~= "table" then return tostring(message) end
  local bytes = {}
  for i, byte in ipairs(message) do bytes[i] = string.char(byte) end
  return table.concat(bytes)
end

---The last lines with when each was written, by the node's own clock.
---@param lines integer
---@return { at: number, text: string }[] at: seconds since the epoch
function Service:entries(lines)
  local output = self.node:run(journal(lines, "json", " --output-fields=MESSAGE")).stdout
  local entries = {}
  for line in output:gmatch "[^\n]+" do
    local entry = json.decode(line)
    entries[#entries + 1] = { at = tonumber(entry.__REALTIME_TIMESTAMP) / 1e6, text = text_of(entry.MESSAGE) }
  end
  return entries
end

---The last lines, and then each as it is written.
---@param lines integer
---@return pgaf.LogStream
function Service:follow(lines)
  local process = exec.start(self.node.provider:client(), self.node.name, {
    command = { "sh", "-c", "exec " .. journal(lines, "cat", " --follow") },
  })
  return log_stream.new(function() return (process:read "1") end, function() process:close() end)
end

return Service
