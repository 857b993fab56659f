-- How what a drill broke is put back. A breakage is journalled with the name of its undo and plain values, so that
-- another process can do it after the drill was killed. Each looks before it acts and may be repeated at any time, also
-- when the fault never came to be.

local error = require "pgafrun.error"
local quote = require "pgaf.quote"
local task = require "pgafrun.task"

-- After a node runs, its service manager gets this long to start pg_autoctl by itself.
local SERVICE_SECONDS = 10

local undo = {}

local function start_service(node)
  local service = node:service()
  for _ = 1, SERVICE_SECONDS * 2 do
    if service:status() == "running" then return end
    task.sleep(0.5)
  end
  service:start()
end

--- Makes one node run again, whatever it is now, and its pg_autoctl with it.
---@param node pgaf.Node
function undo.start(node)
  local status = node:status()
  if status == "absent" or status == "foreign" then
    error.raise {
      kind = "missing", operation = "put back " .. node.name,
      message = ("%s is %s: there is nothing to start"):format(
        node.name, status == "absent" and "gone" or "not a node of this formation any more"),
      hint = "pgafrun scripts/postgres_ha.lua makes a node again",
    }
  end
  if status == "frozen" then node:thaw() else node:start() end
  start_service(node)
end

--- After a freeze: what frozen means to the provider, undo.start knows.
undo.thaw = undo.start

--- After a process was killed that the service manager, or pg_autoctl, starts again by itself.
undo.service = undo.start

--- After a cut of the network. A boot takes every cut back as well.
---@param node pgaf.Node
function undo.heal(node)
  if node:status() == "running" then node:heal() end
  undo.start(node)
end

--- After SIGSTOP: everything of PostgreSQL on the node goes on.
---@param node pgaf.Node
function undo.continue(node)
  if node:status() == "running" then undo.signal(node, "CONT") end
  undo.start(node)
end

--- After its disk was filled: the ballast goes. A server that stopped because of it is started by pg_autoctl.
---@param node pgaf.Node
---@param with { path: string }
function undo.remove_file(node, with)
  if node:status() == "running" then node:run("rm -f -- " .. quote.sh(with.path), { user = "root" }) end
  undo.start(node)
end

-- Backends are children of the postmaster; its own pid comes first.
local SIGNAL = [[
pid=$(head -n 1 %s 2>/dev/null) || exit 0
kill -%s "$pid" $(pgrep -P "$pid") 2>/dev/null || kill -0 "$pid" 2>/dev/null || exit 0]]

--- Sends a signal to the postmaster and all its children.
---@param node pgaf.Node
---@param name string "STOP", "CONT"
function undo.signal(node, name)
  node:run(SIGNAL:format(quote.sh(node:paths().pgdata .. "/postmaster.pid"), name), { user = "root" })
end

---@param breakage pgaf.Breakage
---@param node pgaf.Node
local function perform(_, breakage, node)
  local action = undo[breakage.undo]
  if not action then
    error.raise {
      kind = "usage", operation = "put back " .. breakage.node,
      message = ("the journal wants %q, which this version does not know"):format(breakage.undo),
      hint = "use the version of pgafrun that ran the drill",
    }
  end
  action(node, breakage.with or {})
end

return setmetatable(undo, { __call = perform })
