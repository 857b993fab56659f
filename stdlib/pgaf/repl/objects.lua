-- A formation's objects at the prompt: nodes, monitor, primary().

local error = require "pgafrun.error"
local events = require "pgaf.repl.events"
local formations = require "pgaf.repl.formation"
local node = require "pgaf.repl.node"
local primary = require "pgaf.operate.primary"
local suggest = require "pgaf.suggest"

local LAST_EVENTS = 20

local objects = {}

---The monitor, which is a node that can also be asked for events.
---@class pgaf.repl.Monitor: pgaf.repl.Node
local Monitor = setmetatable({}, { __index = node.methods })
Monitor.__index, Monitor.__name, Monitor.__repl = Monitor, "monitor", node.methods.__repl

---The last events of the formation; :events on shows them as they come.
---@param count? integer default 20
---@return pgaf.operate.Event[]
function Monitor:events(count) return events.last(self.scene, count or LAST_EVENTS) end

-- ----------------------------------------------------------------------------------------------------------- nodes

local Nodes = { __name = "nodes" }

function Nodes.__index(self, name)
  local names = {}
  for one in next, self do names[#names + 1] = one end
  table.sort(names)
  local meant = suggest(tostring(name), names)
  error.raise {
    kind = "usage", operation = "nodes", message = ("there is no node %s; there are %s"):format(tostring(name),
      table.concat(names, ", ")), hint = meant and ("did you mean %s?"):format(meant) or nil,
  }
end

function Nodes.__repl(self, session)
  local names, lines = {}, {}
  for name in next, self do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do lines[i] = session:render(self[name]) end
  return table.concat(lines, "\n")
end

local function primary_of(scene, nodes)
  return setmetatable({}, {
    __name = "primary", __result = setmetatable({}, node.methods),
    __call = function()
      local name = primary.name(scene:state())
      if name then return nodes[name] end
      return error.raise {
        kind = "missing", operation = "primary", message = ("formation %s has no primary now"):format(
          scene.inventory.formation), retryable = true, hint = "`formation` shows its state",
      }
    end,
    __repl = function(self, session) return session:render(self()) end,
  })
end

---Puts them into an environment.
---@param environment table<string, any>
---@param scene pgaf.repl.Scene
function objects.add(environment, scene)
  local nodes = setmetatable({}, Nodes)
  for _, member in ipairs(scene.formation.nodes) do rawset(nodes, member.name, node.new(scene, member)) end
  environment.nodes, environment.inventory = nodes, scene.inventory
  environment.formation = formations.new(scene)
  environment.monitor = setmetatable(node.new(scene, scene.formation.monitor), Monitor)
  environment.primary = primary_of(scene, nodes)
end

return objects
