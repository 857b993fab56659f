-- How what a drill broke is put back. A breakage is journalled with the name of its undo and plain values, so that
-- another process can do it after the drill was killed. Each looks before it acts and may be repeated at any time, also
-- when the fault never came to be.

local error = require "pgafrun.error"
local postmaster = require "pgaf.postgres.postmaster"
local quote = require "pgaf.quote"
local suggest = require "pgaf.suggest"
local task = require "pgafrun.task"

-- After a node runs, its service manager gets this long to start pg_autoctl by itself.
local SERVICE_SECONDS = 10

-- By the names that journals have.
local actions = {}

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
function actions.start(node)
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

--- After a freeze: what frozen means to the provider, start knows.
actions.thaw = actions.start

--- After a process was killed that the service manager, or pg_autoctl, starts again by itself.
actions.service = actions.start

--- After a cut of the network. A boot takes every cut back as well.
---@param node pgaf.Node
function actions.heal(node)
  if node:status() == "running" then node:heal() end
  actions.start(node)
end

--- After SIGSTOP: everything of PostgreSQL on the node goes on.
---@param node pgaf.Node
function actions.continue(node)
  if node:status() == "running" then postmaster.signal(node, "CONT") end
  actions.start(node)
end

--- After its disk was filled: the ballast goes. A server that stopped because of it is started by pg_autoctl.
---@param node pgaf.Node
---@param with { path: string }
function actions.remove_file(node, with)
  if node:status() == "running" then node:run("rm -f -- " .. quote.sh(with.path), { user = "root" }) end
  actions.start(node)
end

--- Before nodes are put back to their snapshots: all stop before the first of them is.
---@param node pgaf.Node
function actions.power_off(node) node:stop { force = true } end

--- Of a node that was stopped for it.
---@param node pgaf.Node
---@param with { name: string }
function actions.restore_snapshot(node, with) node:restore_snapshot(with.name) end

--- The snapshot of before the drill goes.
---@param node pgaf.Node
---@param with { name: string }
function actions.remove_snapshot(node, with)
  local status = node:status()
  if status ~= "absent" and status ~= "foreign" then node:remove_snapshot(with.name) end
end

-- What is of use until the formation is whole.
local LAST = { remove_snapshot = true }

local undo = { start = actions.start }

--- Is it to be done only when all else is done and the formation whole?
---@param name string
---@return boolean
function undo.is_last(name) return LAST[name] or false end

--- Raises when there is no undo of that name.
---@param name string
function undo.check(name)
  if actions[name] then return end
  local names = {}
  for one in pairs(actions) do names[#names + 1] = one end
  table.sort(names)
  local near = suggest(name, names)
  error.raise {
    kind = "usage", operation = "undo",
    message = ("there is no undo %q%s"):format(name, near and (", did you mean %q?"):format(near) or ""),
    hint = ("they are: %s. The version of pgafrun that wrote it into a journal knows it"):format(
      table.concat(names, ", ")),
  }
end

---@param breakage pgaf.Breakage
---@param node pgaf.Node
function undo.perform(breakage, node)
  undo.check(breakage.undo)
  actions[breakage.undo](node, breakage.with or {})
end

return undo
