-- pg_autoctl in a container, under systemd.

local error = require "pgafrun.error"

local UNIT = "pgautofailover.service"
local PATH = "/etc/systemd/system/" .. UNIT
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
Environment=PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0
UMask=0077
ExecStartPre=/bin/sh -c 'f=$$PGDATA/postmaster.pid; [ ! -e "$$f" ] || [ "$$(readlink "/proc/$$(head -n 1 "$$f")/cwd")" = "$$PGDATA" ] || rm -f "$$f"; rm -f $pidfile'
ExecStart=/usr/bin/pg_autoctl run --pgdata $pgdata
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
    environment = paths.environment,
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

---Writes unit and environment where they differ, and enables the unit. Starts nothing.
---@param options { description?: string }
---@return boolean changed
function Service:install(options)
  local node = self.node
  local environment = node:paths().environment
  node:run(("mkdir -p -m 0755 %s"):format(environment:match "^(.+)/"))
  local changed = node:push(environment, environment_text(node), { mode = "0644" })
  local description = options and options.description or "pg_auto_failover node " .. node.name
  if node:push(PATH, unit_text(node, description), { mode = "0644" }) then changed = true end
  local enabled = node:run("systemctl is-enabled --quiet " .. UNIT, { check = false }).code == 0
  if changed or not enabled then
    node:run(("systemctl daemon-reload && systemctl --quiet enable %s"):format(UNIT))
    changed = true
  end
  return changed
end

-- What systemd knows of the unit, by name.
local function show(self)
  local output = self.node:run(("systemctl show %s -p LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts")
    :format(UNIT)).stdout
  local found = {}
  for name, value in output:gmatch "(%w+)=([^\n]*)" do found[name] = value end
  return found
end

function Service:is_installed() return show(self).LoadState == "loaded" end

---@return "running"|"stopped"|"failed" status, string detail
function Service:status()
  local unit = show(self)
  local detail = ("%s (%s), result %s, status %s, %s restarts"):format(unit.ActiveState or "?", unit.SubState or "?",
    unit.Result or "?", unit.ExecMainStatus or "?", unit.NRestarts or "?")
  if unit.ActiveState == "active" or unit.ActiveState == "reloading" then return "running", detail end
  -- Between two tries it is "activating (auto-restart)": it has failed, though systemd will try again.
  if unit.ActiveState == "failed" or unit.SubState == "auto-restart" then return "failed", detail end
  return "stopped", detail
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

function Service:start() change(self, "start", "running", START_TIMEOUT) end

function Service:stop() change(self, "stop", "stopped", STOP_TIMEOUT) end

function Service:restart() change(self, "restart", "running", START_TIMEOUT + STOP_TIMEOUT) end

---The last lines that pg_autoctl wrote.
---@param lines? integer
---@return string
function Service:logs(lines)
  local script = ("journalctl --unit %s --lines %d --no-pager --output cat"):format(UNIT, lines or 20)
  return (self.node:run(script).stdout:gsub("\n$", ""))
end

return Service
