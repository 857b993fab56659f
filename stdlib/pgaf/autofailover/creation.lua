-- `pg_autoctl create`: its words, and its run. A data node's is the first run of the node's service and goes on as the
-- service. `create` and `run` one after the other would stop the PostgreSQL that has just been started and start it
-- again, which takes a second or more, and once in a while the monitor's health check looks just then.

local commands = require "pgaf.resource.commands"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local quote = require "pgaf.quote"
local time = require "pgafrun.time"

local LOG_LINES = 15
local LOOK_SECONDS = 0.5
local HINT = "mend the cause and run the same again: it goes on from here"

local creation = {}

-- Options that both kinds of `pg_autoctl create` take.
local function common_options(target)
  local paths = target.paths
  return {
    "--pgdata", paths.pgdata, "--pgctl", paths.bindir .. "/pg_ctl", "--pgport", tostring(target.entry.port),
    "--hostname", target.node.hostname, "--skip-pg-hba", "--ssl-mode", "verify-full", "--ssl-ca-file", paths.ca_crt,
    "--server-cert", paths.server_crt, "--server-key", paths.server_key,
  }
end

---The argument list of `pg_autoctl create monitor`.
---@param target pgaf.Member
---@return string[]
function creation.monitor(target)
  local options = common_options(target)
  return table.move(options, 1, #options, 4, { "pg_autoctl", "create", "monitor" })
end

---How a data node reaches the monitor. Its password is in .pgpass.
---@param formation pgaf.Formation
---@param target pgaf.Member
---@return string
function creation.monitor_uri(formation, target)
  local monitor = formation.monitor
  return ("postgres://autoctl_node@%s:%d/pg_auto_failover?sslmode=verify-full&sslrootcert=%s"):format(
    monitor.node.hostname, monitor.entry.port, target.paths.ca_crt)
end

---The argument list of `pg_autoctl create postgres`. No password: those are in .pgpass.
---@param formation pgaf.Formation
---@param target pgaf.Member
---@return string[]
function creation.node(formation, target)
  local inventory, entry = formation.inventory, target.entry
  local list = { "pg_autoctl", "create", "postgres" }
  for _, word in ipairs(common_options(target)) do list[#list + 1] = word end
  for _, word in ipairs {
    "--pghost", target.paths.run, "--listen", formation.provider.kind == "local" and target.node:address() or "*",
    "--name", target.name, "--formation", inventory.formation_id, "--dbname", inventory.application.database,
    "--candidate-priority", tostring(entry.candidate_priority),
    "--replication-quorum", tostring(entry.replication_quorum),
    "--monitor", creation.monitor_uri(formation, target),
  } do list[#list + 1] = word end
  return list
end

local function fail(target, argv, fields)
  fields.kind = "command"
  fields.operation = ("%s %s %s on %s"):format(argv[1], argv[2], argv[3], target.name)
  fields.command = table.concat(argv, " ")
  fields.hint = HINT
  error.raise(fields)
end

---Runs a creation to its end, which starts no service. What counts is read after: pg_autoctl's exit status lies now and
---then.
---@param target pgaf.Member
---@param argv string[]
---@param seconds number
function creation.run(target, argv, seconds)
  local result = formations.run(target, ("timeout -k 5 %d %s 2>&1"):format(seconds, quote.sh_list(argv)),
    { timeout = seconds + 15, check = false })
  if result.code == 0 then return end
  local what = result.code == 124 and ("it did not end within %d s"):format(seconds)
    or "ended with status " .. result.code
  fail(target, argv, {
    code = tostring(result.code), result = result, message = what .. commands.last_lines(result.stdout, LOG_LINES),
  })
end

---Looks on at a creation that goes on as the service. Whoever waits for what it makes calls what is returned now and
---then: it raises when the creation has ended, and returns how much of the primary's data is copied, as pg_basebackup
---says it.
---@param target pgaf.Member
---@param argv string[] without --run
---@param tell fun(text: string)
---@return fun(): string copied
function creation.watch(target, argv, tell)
  local service = target.node:service()
  local looked, copied = time.now(), ""
  return function()
    if time.now() < looked + LOOK_SECONDS then return copied end
    local status, detail = service:status()
    if status ~= "running" then
      local logs = service:logs(LOG_LINES)
      service:stop() -- else it would be tried again, over and over
      fail(target, argv, {
        message = ("its service is %s%s"):format(detail or status, commands.last_lines(logs, LOG_LINES)),
      })
    end
    local now = service:logs(1):match("%d+/%d+ kB %(%d+%%%)")
    if now and now ~= copied then
      copied = now
      tell("copied " .. now)
    end
    looked = time.now()
    return copied
  end
end

---Starts such a one.
---@param target pgaf.Member
---@param argv string[] without --run
---@param tell fun(text: string)
---@return fun(): string copied
function creation.start(target, argv, tell)
  local command = table.move(argv, 1, #argv, 1, {})
  command[#command + 1] = "--run"
  target.node:service():start(command)
  return creation.watch(target, argv, tell)
end

return creation
