-- The timers that decide how long a fail-over takes: those of the monitor (pgautofailover.*), and, on a data node, the
-- keeper's network_partition_timeout. What is said here goes before the inventory, in the whole play (of two that say
-- it, the last); the rest is as the inventory has it.
--
--     resource.pgaf_timers { formation = formation, health_check_period = 1000, primary_demote_timeout = 8000 }
--
-- They are written with the rest of the monitor's node.conf. Another play of this formation, such as postgres_ha.lua,
-- knows only the inventory: what shall stay belongs there.

local composite = require "pgaf.autofailover.composite"
local error = require "pgafrun.error"
local member = require "pgaf.autofailover.member"
local resource = require "pgaf.resource"
local rules = require "pgaf.autofailover.rules"
local schema = require "pgaf.schema"
local settings = require "pgaf.autofailover.settings"

---@class pgaf.PgafTimersOptions
---@field formation pgaf.Formation
---@field health_check_period? integer milliseconds from one round of health checks to the next
---@field health_check_timeout? integer milliseconds for a node to answer
---@field health_check_max_retries? integer tries after the first
---@field health_check_retry_delay? integer milliseconds between two tries
---@field node_considered_unhealthy_timeout? integer milliseconds without a report after which a node counts as lost
---@field primary_demote_timeout? integer milliseconds that a lost primary is given to stop itself
---@field startup_grace_period? integer milliseconds after the monitor's start without any judgement
---@field enable_sync_wal_log_threshold? integer bytes that a standby may be behind to be waited for
---@field promote_wal_log_threshold? integer bytes that a standby may be behind to be promoted
---@field network_partition_timeout? integer seconds after which a primary that is cut off stops itself (keeper)

local MILLISECONDS = schema.integer(1, 2147483647, "milliseconds")
local BYTES = schema.integer(1, 2147483647, "bytes")
local TIMERS = {
  health_check_period = MILLISECONDS, health_check_timeout = MILLISECONDS,
  health_check_max_retries = schema.integer(0, 1000), health_check_retry_delay = MILLISECONDS,
  node_considered_unhealthy_timeout = MILLISECONDS, primary_demote_timeout = MILLISECONDS,
  startup_grace_period = MILLISECONDS, enable_sync_wal_log_threshold = BYTES, promote_wal_log_threshold = BYTES,
  network_partition_timeout = schema.integer(1, 86400, "seconds"),
}
local KEEPERS = "network_partition_timeout"

local parameters = { formation = { composite.formation, required = true } }
for name, one in pairs(TIMERS) do parameters[name] = { one } end

local function given(options)
  local timers = {}
  for name in pairs(TIMERS) do timers[name] = options[name] end
  return timers
end

-- What the running monitor has. The files before it are what brings that about.
local FACT = {
  "sql", "monitor's timers", database = "postgres",
  query = "select json_object_agg(name, setting) from pg_settings where name like 'pgautofailover.%'",
}

local function running(formation)
  local function differing(facts)
    local list, now = {}, facts.sql[FACT[2]]
    if not now then
      error.raise {
        kind = "missing", operation = "timers on " .. formation.monitor.name, message = "the monitor does not answer",
        hint = "pgafrun scripts/state.lua shows the formation; the monitor's log tells why",
      }
    end
    for name in pairs(TIMERS) do
      local is, wanted = now["pgautofailover." .. name], tostring(formation.inventory.timers[name])
      if name ~= KEEPERS and is ~= wanted then
        list[#list + 1] = { what = name, before = is or "unknown", after = wanted }
      end
    end
    table.sort(list, function(a, b) return a.what < b.what end)
    return list
  end
  return {
    kind = "timers", name = "monitor", reads = { FACT },
    probe = function(_, _, facts)
      local says = {}
      for i, one in ipairs(differing(facts)) do
        says[i] = ("%s is %s, not %s"):format(one.what, one.before, one.after)
      end
      return #says > 0 and table.concat(says, "; ") or nil
    end,
    changes = function(_, _, facts) return differing(facts) end,
    apply = function(_, target, difference)
      error.raise {
        kind = "verify", operation = "timers on " .. target.name,
        message = "the server has loaded node.conf, and still " .. difference,
      }
    end,
  }
end

-- node.conf alone: the other files of the settings are no timers.
local function node_conf(formation)
  return function(target)
    for _, one in ipairs(settings.files(formation)(target)) do
      if one.name == target.paths.node_conf then return one end
    end
    return nil
  end
end

return resource.define {
  kind = "pgaf_timers",
  parameters = parameters,
  name = function(options) return options.formation.name end,
  check = function(options, report)
    rules.check(composite.with(options.formation, { timers = given(options) }).inventory, function(path, message)
      local name = path:match "^timers%.(.*)$"
      if name then report(("%s: %s"):format(name, message)) end
    end)
  end,
  make = function(options)
    local formation = options.formation
    composite.adopt(formation, { timers = given(options) })
    local monitor = {
      node_conf(formation), settings.loaded, settings.in_force(formation), function() return running(formation) end,
    }
    return composite.new {
      parts = {
        function(target)
          if target.role ~= "monitor" then return member.keeper(formation)(target) end
          local list = {}
          for i, part in ipairs(monitor) do list[i] = part(target) end
          return list
        end,
      },
    }
  end,
}
