-- Limits on what processes may use: of a user's sessions (pam_limits), or of a service (systemd).
--
--     resource.limits { domain = "postgres", limits = { nofile = 65536, memlock = "unlimited" } }
--     resource.limits { unit = "postgresql@.service", limits = { nofile = { soft = 4096, hard = 65536 } } }
--
-- Sessions get them when they begin, services when they are started again.

local crypto = require "pgafrun.crypto"
local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local sorted_keys = require "pgaf.sorted_keys"
local unit = require "pgaf.resources.unit"
local units = require "pgaf.resource.units"

---@alias pgaf.Limit integer|"unlimited"|{ soft: integer|"unlimited", hard: integer|"unlimited" }

---@class pgaf.LimitsOptions
---@field limits? table<string, pgaf.Limit> by item of limits.conf: nofile, nproc, memlock, core, stack, as, cpu, data,
---fsize, rss, locks, sigpending, msgqueue, nice, rtprio; a number, "unlimited", or { soft = ..., hard = ... }
---@field domain? string whose sessions: a user, "@group", or "*"
---@field unit? string instead of domain: a unit with its kind, "app.service"; it gets a drop-in
---@field name? string of the file in /etc/security/limits.d, or of the drop-in, default "pgafrun-DOMAIN" and "limits"
---@field state? "present"|"absent" default "present"

-- limits.conf counts memory in KiB and time in minutes, systemd in bytes and seconds.
local ITEMS = {
  nofile = 1, nproc = 1, memlock = 1024, core = 1024, stack = 1024, as = 1024, cpu = 60, data = 1024, fsize = 1024,
  rss = 1024, locks = 1, sigpending = 1, msgqueue = 1, nice = 1, rtprio = 1,
}

local function both(limit)
  if type(limit) == "table" then return limit.soft or limit.hard, limit.hard or limit.soft end
  return limit, limit
end

-- Lines of /etc/security/limits.d.
local function for_sessions(options)
  local lines = { "# Written by pgafrun: changes by hand are lost." }
  for _, name in ipairs(sorted_keys(options.limits)) do
    local soft, hard = both(options.limits[name])
    lines[#lines + 1] = ("%s soft %s %s"):format(options.domain, name, tostring(soft))
    lines[#lines + 1] = ("%s hard %s %s"):format(options.domain, name, tostring(hard))
  end
  return table.concat(lines, "\n") .. "\n"
end

-- A drop-in for systemd.
local function for_unit(options)
  local lines = { "[Service]" }
  for _, name in ipairs(sorted_keys(options.limits)) do
    local function shown(value)
      if value == "unlimited" then return "infinity" end
      -- without a sign, systemd takes it for the kernel's own 20 - nice
      return (name == "nice" and "%+d" or "%d"):format(value * ITEMS[name])
    end
    local soft, hard = both(options.limits[name])
    lines[#lines + 1] = ("Limit%s=%s:%s"):format(name:upper(), shown(soft), shown(hard))
  end
  return table.concat(lines, "\n") .. "\n"
end

local function make(options)
  local absent = options.state == "absent"
  if options.unit then
    return unit {
      name = options.unit, dropin = options.name or "limits", state = options.state,
      content = not absent and for_unit(options) or nil,
    }
  end
  local name = options.name or "pgafrun-" .. (options.domain:gsub("[^%w_-]", { ["*"] = "all", ["@"] = "group-" }))
  local path = ("/etc/security/limits.d/%s.conf"):format(name)
  local text = not absent and for_sessions(options) or nil
  local file = { path = path, mode = "0644", user = "root" }
  local made = { reads = { { "file", path } } }

  function made:probe(target, facts)
    if absent then return facts.file[path] and path .. " is there" or nil end
    return files.difference(facts.file[path], file, target, function() return crypto.sha256(text) end)
  end

  function made:changes(target, facts)
    if absent then return { files.change(target, facts, path, nil) } end
    return files.changes(target, facts, file, text)
  end

  function made:apply(target)
    if absent then
      target.node:run("rm -f -- " .. quote.sh(path))
      return "removed " .. path
    end
    target.node:run "install -d -m 0755 /etc/security/limits.d"
    target.node:push(path, text, { mode = "0644", user = "root" })
    return "wrote " .. path
  end

  return made
end

-- What is wrong with a limit; nil when nothing is.
local function problem_with(name, limit)
  local soft, hard = both(limit)
  if soft == nil then return "wants soft, or hard, or both" end
  local least = name == "nice" and -20 or 0
  local function number(value) return value == "unlimited" and math.huge or value end
  if number(soft) < least or number(hard) < least then return ('wants at least %d, or "unlimited"'):format(least) end
  -- the less nice, the more is permitted
  local over = number(soft) > number(hard)
  if name == "nice" then over = number(soft) < number(hard) end
  return over and ("soft (%s) is beyond hard (%s)"):format(tostring(soft), tostring(hard)) or nil
end

local amount = schema.either('a whole number or "unlimited"',
  schema.integer(-20, math.maxinteger), schema.one_of "unlimited")
local item_names = sorted_keys(ITEMS)

return resource.define {
  kind = "limits",
  parameters = {
    limits = {
      schema.map(schema.one_of(table.unpack(item_names)), schema.either(
        'a whole number, "unlimited", or { soft = ..., hard = ... }',
        amount, schema.record { soft = { amount }, hard = { amount } })),
    },
    domain = { schema.text { pattern = "[@%%]?[%w_.*-]+", what = 'a user, "@group" or "*"' } },
    unit = { units.name },
    name = { schema.text { pattern = "[%w_.-]+", what = "a name of letters, digits, . _ -" } },
    state = { parameter.state(), default = "present" },
  },
  words = { limit_item = "limits", value = "limits", service = "unit", user = "domain" },
  name = function(options) return options.unit or options.domain end,
  check = function(options, report)
    if (options.domain == nil) == (options.unit == nil) then report "wants either domain or unit" end
    if options.state == "present" and not (options.limits and next(options.limits)) then report "limits is missing" end
    for _, name in ipairs(sorted_keys(options.limits or {})) do
      local problem = problem_with(name, options.limits[name])
      if problem then report(("limits.%s: %s"):format(name, problem)) end
    end
  end,
  make = make,
  also = { for_sessions = for_sessions, for_unit = for_unit },
}
