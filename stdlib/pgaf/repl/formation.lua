-- The formation at the prompt.

local error = require "pgafrun.error"
local maintenance = require "pgaf.operate.maintenance"
local names_of = require "pgaf.names"
local operate = require "pgaf.operate"
local primary = require "pgaf.operate.primary"
local state = require "pgaf.autofailover.state"
local view = require "pgaf.autofailover.view"

---@class pgaf.repl.Formation
---@field name string
---@field inventory pgaf.Inventory
---@field scene pgaf.repl.Scene
local Formation = {}
Formation.__index = Formation
Formation.__name = "formation"

local formation = {}

---@param scene pgaf.repl.Scene
---@return pgaf.repl.Formation
function formation.new(scene)
  return setmetatable({ name = scene.inventory.formation, inventory = scene.inventory, scene = scene }, Formation)
end

function Formation.__repl(self)
  local scene = self.scene
  return table.concat(view.lines(view.gather(scene.provider, scene.reach, scene.inventory)), "\n")
end

---All that `pgafrun state --json` tells.
---@return pgaf.View
function Formation:view() return view.gather(self.scene.provider, self.scene.reach, self.scene.inventory) end

---The monitor's view.
---@return pgaf.FormationState
function Formation:state() return self.scene:state() end

---Why it is not whole; empty when it is.
---@return string[]
function Formation:problems()
  return state.problems(self.scene:state(), names_of(self.inventory.nodes))
end

---How an application connects.
---@return string
function Formation:uri() return self.scene.reach:uri() end

local Outcome = {}
function Outcome.__repl(self) return table.concat(self.lines or {}, "\n") end

local function under_lock(scene, what, f)
  local _ <close> = scene.provider:lock(what)
  return setmetatable(f(scene:context()), Outcome)
end

---Moves the primary's role to a standby, and waits until the formation is whole again.
---@param to? string default: the standby that takes over best
---@return pgaf.operate.Moved
function Formation:switchover(to)
  if to then operate.entry({ inventory = self.inventory }, to, true) end
  self.scene.guard:allow(to and "move the primary's role to " .. to or "move the primary's role")
  return under_lock(self.scene, "switchover", function(context) return primary.move(context, { to = to }) end)
end

---Puts a node into maintenance, or ends that.
---@param name string
---@param on boolean
---@return pgaf.operate.Result
function Formation:maintenance(name, on)
  operate.entry({ inventory = self.inventory }, name, true)
  if type(on) ~= "boolean" then error.raise { kind = "usage", message = "maintenance wants true or false" } end
  self.scene.guard:allow(("%s maintenance of %s"):format(on and "begin" or "end", name))
  return under_lock(self.scene, "maintenance", function(context)
    if on then return maintenance.on(context, name, {}) end
    return maintenance.off(context, name)
  end)
end

return formation
