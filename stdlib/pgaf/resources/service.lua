-- A service: whether it runs, and whether it does after a boot.
--
--     resource.service { name = "chrony", state = "started", enabled = true }
--     p:handler { "restart chrony", resource = resource.service { name = "chrony", state = "restarted" } }
--
-- "restarted" and "reloaded" always do so: they are for handlers, which run when something changed. What systemd has
-- not read yet, it reads first (daemon-reload).

local commands = require "pgaf.resource.commands"
local error = require "pgafrun.error"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local units = require "pgaf.resource.units"

local SECONDS = 180
local LOG_LINES = 10

---@class pgaf.ServiceOptions
---@field name string "chrony", or any unit with its kind: "backup.timer"
---@field state? "started"|"stopped"|"restarted"|"reloaded"
---@field enabled? boolean starts with the machine

local function is_running(unit) return unit.active == "active" or unit.active == "reloading" end

-- The states of a unit that starts at a boot, or that has no say in it.
local AS_ENABLED = {
  enabled = true, alias = true, static = true, indirect = true, generated = true, transient = true,
}
local NOT_ENABLED = {
  disabled = true, masked = true, ["masked-runtime"] = true, static = true, indirect = true, linked = true,
  generated = true, transient = true, [""] = true,
}

-- What shall be and is not: verbs of systemctl, and the difference in words.
local function work_of(options, name, unit)
  local verbs, parts = {}, {}
  local function add(verb, text) verbs[#verbs + 1], parts[#parts + 1] = verb, text end
  if options.enabled == true and not AS_ENABLED[unit.enabled] then add("enable", "is not enabled") end
  if options.enabled == false and not NOT_ENABLED[unit.enabled or ""] then add("disable", "is enabled") end
  if options.state == "started" and not is_running(unit) then add("start", "is " .. unit.active) end
  if options.state == "stopped" and unit.active ~= "inactive" and unit.active ~= "failed" then
    add("stop", "is " .. unit.active)
  end
  if options.state == "restarted" then add("restart", "is to be restarted") end
  if options.state == "reloaded" then
    add(is_running(unit) and "reload" or "start", is_running(unit) and "is to be reloaded" or "is " .. unit.active)
  end
  return verbs, #parts > 0 and name .. " " .. table.concat(parts, ", ") or nil
end

local DONE = {
  enable = "enabled", disable = "disabled", start = "started", stop = "stopped", restart = "restarted",
  reload = "reloaded",
}

-- Of most services systemd knows when they are ready; of one of type simple only that there is a process. One that ends
-- at once is given the time to do so.
local RUNS = [[
unit=%s
case $(systemctl show -p Type --value -- "$unit") in simple|exec|idle)
  for _ in 1 2 3; do ! systemctl is-active -q -- "$unit" || sleep 0.1; done
esac
systemctl show -p Type,ActiveState,SubState,Result,ExecMainStatus,ConditionResult -- "$unit"]]

-- One that does its work and ends is not running afterwards; started again by a handler, it has done what it is for.
local function ends_well(options, state)
  return options.state == "restarted" and state:find "Type=oneshot\n" and state:find "Result=success\n"
end

-- What systemd knows of one that does not run.
local function in_words(state)
  local function value(key) return ("\n" .. state):match("\n" .. key .. "=([^\n]*)") or "?" end
  local told = (": %s (%s), result %s, exit status %s"):format(
    value "ActiveState", value "SubState", value "Result", value "ExecMainStatus")
  if value "ConditionResult" == "no" then told = told .. "; a condition in its unit does not hold" end
  if value "Type" == "oneshot" then
    told = told .. '; it is of type oneshot: without RemainAfterExit=yes it is never "started" for longer than its work'
  end
  return told
end

local function make(options)
  local name = units.has_kind(options.name) and options.name or options.name .. ".service"
  local by_handler = options.state == "restarted" or options.state == "reloaded"
  local made = { reads = { { "unit", name } }, settles = by_handler or nil }

  local function unit_of(target, facts)
    local unit = facts.unit[name]
    if unit and unit.load ~= "not-found" then return unit end
    -- one that is not there can still run, and a link to it be left
    if (options.state or "stopped") == "stopped" and not options.enabled then
      return unit or { active = "inactive", enabled = "" }
    end
    return error.raise {
      kind = "missing", operation = ("service %s on %s"):format(options.name, target.name),
      message = ("%s has no unit %s"):format(target.name, name),
      hint = "is the package installed that brings it? resource.unit makes one",
    }
  end

  function made:probe(target, facts)
    local _, difference = work_of(options, name, unit_of(target, facts))
    return difference
  end

  function made:changes(target, facts)
    local unit, list = unit_of(target, facts), {}
    for i, verb in ipairs((work_of(options, name, unit))) do
      local of_boot = verb == "enable" or verb == "disable"
      list[i] = { what = name, before = of_boot and unit.enabled or unit.active, after = DONE[verb] }
    end
    return list
  end

  local function systemctl(self, target, verb)
    local result = target.node:run(("systemctl %s %s"):format(verb, quote.sh(name)),
      { check = false, timeout = SECONDS })
    local starts = verb == "start" or verb == "restart" or verb == "reload"
    local state = starts and target.node:run(RUNS:format(quote.sh(name))).stdout or ""
    local runs = state:find "ActiveState=active\n" or ends_well(options, state)
    if result.code == 0 and (runs or not starts) then return end
    local log = target.node:run(("journalctl -q --no-pager -o cat -n %d -u %s"):format(LOG_LINES, quote.sh(name)),
      { check = false }).stdout
    error.raise {
      kind = "command", operation = ("service %s on %s"):format(options.name, target.name),
      code = tostring(result.code),
      message = ("`systemctl %s %s` ended with status %d%s\n  its log ends with%s"):format(verb, name, result.code,
        result.code == 0 and ", and it does not run" .. in_words(state) or commands.last_lines(result.stderr),
        commands.last_lines(log, LOG_LINES)),
      hint = ("on %s: systemctl status %s; journalctl -u %s"):format(target.name, name, name),
    }
  end

  function made:apply(target, _, facts)
    local unit, done = unit_of(target, facts), {}
    if unit.needs_reload then commands.run(self, target, "systemctl daemon-reload") end
    for i, verb in ipairs((work_of(options, name, unit))) do
      systemctl(self, target, verb)
      done[i] = DONE[verb]
    end
    return ("%s %s"):format(table.concat(done, ", "), name)
  end

  return made
end

return resource.define {
  kind = "service",
  parameters = {
    name = { schema.text { pattern = "[%w:_.\\@-]+", what = "the name of a service", max = 255 }, required = true },
    state = { schema.one_of("started", "stopped", "restarted", "reloaded") },
    enabled = { schema.boolean() },
  },
  words = { service = "name", unit = "name", running = "state" },
  name = function(options) return options.name end,
  check = function(options, report)
    if options.state == nil and options.enabled == nil then report "wants state, or enabled, or both" end
  end,
  make = make,
}
