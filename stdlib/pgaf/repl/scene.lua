-- The formation that a session is about: what its objects share. Connections are made when they are first needed, and
-- again when they were lost, which is told.

local throw = error
local connect = require "pgaf.connect"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local providers = require "pgaf.provider"
local state = require "pgaf.autofailover.state"
local task = require "pgafrun.task"

local TIMEOUT = 180 -- of what waits for the formation to be whole again, as in the scripts

---@class pgaf.repl.Scene
---@field inventory pgaf.Inventory
---@field provider pgaf.Provider
---@field reach pgaf.Reach
---@field formation pgaf.Formation
---@field guard pgaf.repl.Guard
---@field say fun(text: string)
local Scene = {}
Scene.__index = Scene

local scene = {}

---@class pgaf.repl.SceneOptions
---@field inventory pgaf.Inventory
---@field guard pgaf.repl.Guard
---@field say fun(text: string) shows a line
---@field group? pgafrun.Group for what goes on in the background of the provider

---Touches nothing.
---@param options pgaf.repl.SceneOptions
---@return pgaf.repl.Scene to be closed
function scene.open(options)
  local provider = providers.open(options.inventory, options.group)
  return setmetatable({
    inventory = options.inventory, provider = provider, reach = connect.open(provider, options.inventory),
    formation = formations.open(provider, options.inventory), guard = options.guard, say = options.say,
  }, Scene)
end

function Scene:close()
  if self.connection then self.connection:close() end
  self.reach:close()
  self.provider:close()
end
Scene.__close = Scene.close

local function is_lost(raised) return error.is(raised, "network") or error.is(raised, "closed") end

-- A connection to the monitor for one call: two tasks cannot have the same.
local function connection_of(self)
  local kept = self.connection
  self.connection = nil
  if kept and kept:is_open() then return kept, true end
  local connection = self.reach:monitor("repl")
  if kept or self.lost then self.say("the connection to the monitor had been lost; there is a new one") end
  self.lost = false
  return connection, false
end

---Asks the monitor; f only reads, since it is called again on a new connection where the old one turns out to be lost.
---@param f fun(connection: pgafrun.pg.Connection): any
---@return any
function Scene:ask(f)
  while true do
    local connection, old = connection_of(self)
    local ok, result = pcall(f, connection)
    if connection:is_open() and not self.connection then
      self.connection = connection
    else
      connection:close()
    end
    if ok then return result end
    task.check()
    if not is_lost(result) then throw(result, 0) end
    self.lost = true
    if not old then throw(result, 0) end
  end
end

---The monitor's view.
---@return pgaf.FormationState
function Scene:state()
  return self:ask(function(connection) return state.read(connection, self.inventory.formation_id) end)
end

---What the operators' actions want (see pgaf.operate).
---@return pgaf.operate.Context
function Scene:context()
  return {
    inventory = self.inventory, provider = self.provider, reach = self.reach, timeout = TIMEOUT, measure = false,
    say = self.say,
  }
end

return scene
