-- What a session begins with: formation, monitor, nodes, primary(), incus, pg, task, and what everybody needs beside.

local pg = require "pgafrun.pg"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local preload = {}

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
  local environment = { pg = pg, task = task, time = time }
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
  -- what only a formation needs is not even read without one
  if scene then require("pgaf.repl.objects").add(environment, scene) end
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
