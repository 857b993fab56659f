-- What a session begins with: formation, monitor, nodes, primary(), incus, pg, task, and what everybody needs beside.

local error = require "pgafrun.error"
local events = require "pgaf.repl.events"
local formations = require "pgaf.repl.formation"
local node = require "pgaf.repl.node"
local pg = require "pgafrun.pg"
local primary = require "pgaf.operate.primary"
local suggest = require "pgaf.suggest"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local LAST_EVENTS = 20

local preload = {}

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

-- ----------------------------------------------------------------------------------------------------------- Incus

---The Incus server of the formation, or without one the user's default remote.
---@class pgaf.repl.Incus
local Incus = {}
Incus.__index = Incus
Incus.__name = "incus"

local function client_of(self)
  if self.scene and self.scene.provider.client then return self.scene.provider:client() end
  if not self.client then
    local client, remotes = require "pgaf.incus.client", require "pgaf.incus.remotes"
    self.client = client.open(remotes.load():server())
  end
  return self.client
end

---Reads an object: incus:get "/1.0/instances".
---@param path string
---@param query? table<string, string|number>
---@return any
function Incus:get(path, query) return (client_of(self):get(path, query)) end

---Sends a request, also one that changes something.
---@param request pgaf.incus.Request
---@return pgaf.incus.Answer
function Incus:call(request)
  if self.guard and (request.method or "GET") ~= "GET" then
    self.guard:allow(("%s %s"):format(request.method, request.path))
  end
  return client_of(self):call(request)
end

---The instances of the project, as `incus list` knows them.
---@return table[]
function Incus:instances() return (client_of(self):get("/1.0/instances", { recursion = 1 })) end

function Incus.__repl(self)
  local client = client_of(self)
  return ("remote %s, project %s, Incus %s"):format(client.server.name, client.project,
    client.info.environment and client.info.environment.server_version or "?")
end

-- ------------------------------------------------------------------------------------------------------------- all

---@class pgaf.repl.PreloadOptions
---@field scene? pgaf.repl.Scene nil without an inventory
---@field guard? pgaf.repl.Guard
---@field background pgafrun.Group
---@field print fun(text: string) where print goes: above the line that is being typed

---The environment of a session.
---@param options pgaf.repl.PreloadOptions
---@return table<string, any> environment
function preload.environment(options)
  local scene = options.scene
  local environment = { pg = pg, task = task, time = time, error = nil }
  environment.incus = setmetatable({ scene = scene, guard = options.guard }, Incus)
  function environment.print(...)
    local texts = table.pack(...)
    for i = 1, texts.n do texts[i] = tostring(texts[i]) end
    options.print(table.concat(texts, "\t", 1, texts.n))
  end
  ---Runs a function beside the prompt, until it ends or the session does.
  function environment.background(f, ...)
    return options.background:spawn(function(...)
      local ok, raised = pcall(f, ...)
      task.check()
      if not ok then options.print("in the background: " .. tostring(raised)) end
    end, ...)
  end
  if not scene then return environment end
  local nodes = setmetatable({}, Nodes)
  for _, member in ipairs(scene.formation.nodes) do rawset(nodes, member.name, node.new(scene, member)) end
  environment.nodes, environment.inventory = nodes, scene.inventory
  environment.formation = formations.new(scene)
  environment.monitor = setmetatable(node.new(scene, scene.formation.monitor), Monitor)
  environment.primary = primary_of(scene, nodes)
  return environment
end

---Lines for :help.
---@param scene? pgaf.repl.Scene
---@return string[]
function preload.about(scene)
  local lines = {
    "",
    "  pg, task, time     the modules; print and background(f) show above the line being typed",
    '  incus              incus:get "/1.0/instances", incus:instances()',
  }
  if not scene then return lines end
  for _, line in ipairs {
    "  formation          its state; formation:switchover(), :maintenance(NODE, true), :problems(), :uri()",
    "  monitor            monitor:events(20), monitor:sql \"...\", monitor:logs { follow = true }",
    '  nodes["NAME"]      :exec "df -h", :sql "select ...", :logs { follow = true }, :state(), :stop(), :start() ...',
    "  primary()          the node that takes writes",
  } do lines[#lines + 1] = line end
  return lines
end

return preload
