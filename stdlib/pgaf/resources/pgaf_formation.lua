-- What the monitor keeps about a formation: how many standbys commits wait for, which nodes may be promoted, which
-- ones commits wait for. Not before all members are there. What is said here goes before the inventory, in the whole
-- play; the rest is as the inventory has it.
--
--     resource.pgaf_formation { formation = formation, number_sync_standbys = 1,
--                               nodes = { ["pg-3"] = { candidate_priority = 0, replication_quorum = false } } }

local composite = require "pgaf.autofailover.composite"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local names_of = require "pgaf.names"
local registration = require "pgaf.autofailover.registration"
local resource = require "pgaf.resource"
local rules = require "pgaf.autofailover.rules"
local schema = require "pgaf.schema"
local suggest = require "pgaf.suggest"

---@class pgaf.PgafNodeSettings
---@field candidate_priority? integer 0 to 100; 0: never promoted
---@field replication_quorum? boolean commits wait for it

---@class pgaf.PgafFormationOptions
---@field formation pgaf.Formation
---@field number_sync_standbys? integer standbys that a commit waits for
---@field nodes? table<string, pgaf.PgafNodeSettings> by the node's name

local function check(options, report)
  local names = names_of(options.formation.inventory.nodes)
  for name in pairs(options.nodes) do
    local near = suggest(name, names)
    if not options.formation.by_name[name] or name == options.formation.monitor.name then
      report(("the formation has no data node %q%s"):format(name, near and (", did you mean %q?"):format(near) or ""))
    end
  end
  rules.check(composite.with(options.formation, options).inventory, function(path, message)
    if path:find "^formation_settings" then report(("number_sync_standbys: %s"):format(message)) end
  end)
end

-- Of a node that the monitor does not know, nothing can be said.
local function registered(formation, nodes)
  return {
    kind = "registration", name = formation.name, reads = { formations.STATE },
    probe = function(_, _, facts)
      local known = {}
      for _, row in ipairs(facts.sql.formation and facts.sql.formation.nodes or {}) do known[row.name] = true end
      for _, name in ipairs(facts.sql.formation and names_of(formation.inventory.nodes) or {}) do
        if nodes[name] and not known[name] then
          error.raise {
            kind = "missing", operation = "settings of " .. name, message = "the monitor knows no node of this name",
            hint = "it is a member after the step of resource.pgaf_node, which comes before",
          }
        end
      end
      return nil
    end,
  }
end

return resource.define {
  kind = "pgaf_formation",
  parameters = {
    formation = { composite.formation, required = true },
    number_sync_standbys = { schema.integer(0, 100) },
    nodes = {
      schema.map(schema.text(), schema.record {
        candidate_priority = { schema.integer(0, 100) }, replication_quorum = { schema.boolean() },
      }), default = {},
    },
  },
  name = function(options) return options.formation.name end,
  check = check,
  make = function(options)
    local formation = options.formation
    composite.adopt(formation, { nodes = options.nodes, number_sync_standbys = options.number_sync_standbys })
    return composite.new {
      target = formation.monitor,
      parts = {
        function() return registered(formation, options.nodes) end,
        function() return registration.settings(formation) end,
      },
    }
  end,
}
