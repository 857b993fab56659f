-- A group of users.
--
--     resource.group { name = "dba", system = true }

local commands = require "pgaf.resource.commands"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.GroupOptions
---@field name string
---@field gid? integer default: the next free one
---@field system? boolean when it is made: of the numbers for the system's own, default false
---@field state? "present"|"absent" default "present"

local function make(options)
  local name, gid = options.name, options.gid
  local made = { reads = { { "group", name } } }

  function made:probe(_, facts)
    local now = facts.group[name]
    if options.state == "absent" then return now and ("there is a group %s"):format(name) or nil end
    if not now then return ("there is no group %s"):format(name) end
    if gid and now.gid ~= gid then return ("group %s has number %d, not %d"):format(name, now.gid, gid) end
    return nil
  end

  function made:changes(_, facts)
    local now = facts.group[name]
    local after
    if options.state == "present" then after = gid and "gid " .. gid or "a group" end
    return { { what = "group " .. name, before = now and "gid " .. now.gid or nil, after = after } }
  end

  function made:apply(target, _, facts)
    local number = gid and " -g " .. gid or ""
    if options.state == "absent" then
      commands.run(self, target, "groupdel " .. quote.sh(name), {
        hint = "a group that is some user's own goes with that user",
      })
      return "removed the group " .. name
    elseif facts.group[name] then
      commands.run(self, target, ("groupmod%s %s"):format(number, quote.sh(name)))
      return ("gave group %s the number %d"):format(name, gid)
    end
    commands.run(self, target, ("groupadd%s%s %s"):format(options.system and " -r" or "", number, quote.sh(name)))
    return "made the group " .. name
  end

  return made
end

return resource.define {
  kind = "group",
  parameters = {
    name = { parameter.name, required = true },
    gid = { schema.integer(0, 4294967294) },
    system = { schema.boolean() },
    state = { parameter.state(), default = "present" },
  },
  name = function(options) return options.name end,
  make = make,
}
