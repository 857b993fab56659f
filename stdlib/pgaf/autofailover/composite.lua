-- Several resources of a formation's member as one, and a formation with some of its inventory's values replaced: what
-- the resources pgaf_monitor, pgaf_node, pgaf_formation and pgaf_timers are made of.

local throw = error
local error = require "pgafrun.error"
local peers = require "pgaf.autofailover.peers"
local task = require "pgafrun.task"

local composite = {}

---The type of the parameter `formation`.
---@type pgaf.schema.Type
function composite.formation(value, path, report)
  if type(value) ~= "table" or not value.inventory or not value.by_name then
    report(path, "wants a formation, as pgaf.autofailover.formation's open returns it")
  end
  return value
end

local function over(base, changes) return setmetatable(changes, { __index = base }) end

---The formation as it would be with these values in its inventory; itself it stays as it is.
---@param formation pgaf.Formation
---@param changes { timers?: table<string, integer>, number_sync_standbys?: integer, nodes?: table<string, table> }
---@return pgaf.Formation
function composite.with(formation, changes)
  local inventory = formation.inventory
  local nodes, by_name = {}, {}
  for i, entry in ipairs(inventory.nodes) do
    local own = changes.nodes and changes.nodes[entry.name]
    nodes[i] = own and over(entry, own) or entry
    by_name[entry.name] = over(formation.by_name[entry.name], { entry = nodes[i] })
  end
  return over(formation, {
    by_name = over(formation.by_name, by_name),
    inventory = over(inventory, {
      nodes = nodes, timers = setmetatable({}, {
        __index = function(_, name) return (changes.timers or {})[name] or inventory.timers[name] end,
        __pairs = function()
          local all = {}
          for name, value in pairs(inventory.timers) do all[name] = value end
          for name, value in pairs(changes.timers or {}) do all[name] = value end
          return next, all
        end,
      }),
      formation_settings = over(inventory.formation_settings, { number_sync_standbys = changes.number_sync_standbys }),
    }),
  })
end

---From here on the formation has these values: all resources of one play want the same.
---@param formation pgaf.Formation
---@param changes table as for `with`
function composite.adopt(formation, changes)
  local changed = composite.with(formation, changes).inventory
  formation.inventory = changed
  for _, entry in ipairs(changed.nodes) do formation.by_name[entry.name].entry = entry end
end

local function flatten(list, made)
  if made.probe or made.ensure then
    list[#list + 1] = made
  else
    for _, one in ipairs(made) do list[#list + 1] = one end
  end
end

---The names of all nodes, where each is a machine of its own.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource|pgaf.Resource[]
function composite.names(formation)
  return function(target) return formation.provider:can("packages") and peers.names(formation)(target) or {} end
end

local function refuse_other_target(resource, spec, target)
  if target == spec.target or target.name == (spec.target and spec.target.name) then return end
  if not spec.target and (spec.role == nil or target.role == spec.role) then return end
  error.raise {
    kind = "config", operation = ("%s %s on %s"):format(resource.kind, resource.name, target.name),
    message = spec.target and ("it is for %s: `on` of the step says otherwise"):format(spec.target.name) or
      "it is for data nodes, and this is the monitor",
  }
end

-- Also after a failure: it may have changed something.
local function apply(part, target, difference, facts, tell)
  local _ <close> = setmetatable({}, { __close = function() target.facts:forget() end })
  return part:apply(target, difference, facts, tell) or difference
end

-- Brings one part to what is wanted, and looks again: some parts find out only then what later ones use.
local function converge(self, part, target, tell)
  local facts = target.facts:fetch(part.reads)
  local difference = part:probe(target, facts)
  if not difference then return nil end
  local done = apply(part, target, difference, facts, tell)
  local left = not part.settles and part:probe(target, target.facts:fetch(part.reads))
  if left then
    error.raise {
      kind = "verify", operation = ("%s %s on %s"):format(self.kind, self.name, target.name),
      message = ("was applied, and still differs: %s"):format(left),
    }
  end
  return done
end

---A part without which nothing after it can be known.
---@param part fun(target: pgaf.Member): pgaf.Resource
---@return fun(target: pgaf.Member): pgaf.Resource
function composite.first(part)
  return function(target)
    local made = part(target)
    made.comes_first = true
    return made
  end
end

---@class pgaf.Composite
---@field target? pgaf.Member the only one it is for; without, the step's
---@field role? "monitor"|"node" of the targets it is for
---@field parts (fun(target: pgaf.Member): pgaf.Resource|pgaf.Resource[])[] in the order they are brought about

---@param spec pgaf.Composite
---@return pgaf.Resource
function composite.new(spec)
  local known = setmetatable({}, { __mode = "k" })
  local function parts_of(target)
    if not known[target] then
      local list = {}
      for _, part in ipairs(spec.parts) do flatten(list, part(target)) end
      known[target] = list
    end
    return known[target]
  end

  local resource = { reads = {}, settles = true }
  if spec.target then
    for _, part in ipairs(parts_of(spec.target)) do
      table.move(part.reads or {}, 1, #(part.reads or {}), #resource.reads + 1, resource.reads)
    end
  end

  -- What a later part looks at may be what an earlier one makes: then what is known so far is the answer.
  local function differing(self, target)
    refuse_other_target(self, spec, target)
    local found = {}
    for _, part in ipairs(parts_of(target)) do
      local ok, difference, facts = pcall(function()
        local facts = target.facts:fetch(part.reads)
        return part:probe(target, facts), facts
      end)
      if not ok then
        task.check()
        if #found > 0 then return found end
        throw(difference, 0)
      end
      if difference then found[#found + 1] = { part = part, says = difference, facts = facts } end
      if difference and part.comes_first then return found end
    end
    return found
  end

  function resource:probe(target)
    local says, said = {}, {}
    for _, one in ipairs(differing(self, target)) do
      -- two parts may look at the same file
      if not said[one.says] then says[#says + 1] = one.says end
      said[one.says] = true
    end
    return #says > 0 and table.concat(says, "; ") or nil
  end

  function resource:changes(target)
    local list = {}
    for _, one in ipairs(differing(self, target)) do
      local changes = one.part.changes and one.part:changes(target, one.facts) or {}
      table.move(changes, 1, #changes, #list + 1, list)
    end
    return list
  end

  function resource:apply(target, _, _, tell)
    local done = {}
    for _, part in ipairs(parts_of(target)) do done[#done + 1] = converge(self, part, target, tell) end
    return #done > 0 and table.concat(done, "; ") or nil
  end

  return resource
end

return composite
