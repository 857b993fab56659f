-- A unit of systemd, or a drop-in that changes one; systemd has read it (daemon-reload) when this is done.
--
--     resource.unit { name = "app.service", content = "[Service]\nExecStart=/usr/bin/app\n" }
--     resource.unit { name = "cron.service", dropin = "limits", content = "[Service]\nLimitNOFILE=65536\n" }
--
-- Whether it runs, and does after a boot, is resource.service's.

local commands = require "pgaf.resource.commands"
local crypto = require "pgafrun.crypto"
local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.UnitOptions
---@field name string with its kind: "app.service", "backup.timer"
---@field content? string|pgaf.Secret|fun(target: pgaf.Target): string the file's text
---@field dropin? string name of a drop-in for that unit, instead of the unit itself
---@field mode? string octal, default "0644"
---@field state? "present"|"absent" default "present"

local FOLDER = "/etc/systemd/system/"

local function make(options)
  local name = options.name
  local path = FOLDER .. name .. (options.dropin and (".d/%s.conf"):format(options.dropin) or "")
  local absent = options.state == "absent"
  local what = options.dropin and ("drop-in %s of %s"):format(options.dropin, name) or name
  local made = { reads = { { "file", path }, { "unit", name } } }
  local file = { path = path, mode = options.mode, user = "root" }

  local function content(target) return parameter.reveal(options.content, target) end

  function made:probe(target, facts)
    local now, unit = facts.file[path], facts.unit[name]
    local difference
    if absent then
      difference = now and path .. " is there" or nil
    else
      difference = files.difference(now, file, target, function() return crypto.sha256((content(target))) end)
    end
    if difference then return difference end
    return unit and unit.needs_reload and ("systemd has not read %s as it is now"):format(what) or nil
  end

  function made:changes(target, facts)
    if absent then return { files.change(target, facts, path, nil) } end
    local text, is_secret = content(target)
    local list, unit = files.changes(target, facts, file, text, is_secret), facts.unit[name]
    if unit and unit.needs_reload then
      list[#list + 1] = { what = name .. ": read by systemd", before = "not as it is now", after = "as it is now" }
    end
    return list
  end

  function made:apply(target)
    if absent then
      commands.run(self, target, ("rm -f -- %s && systemctl daemon-reload"):format(quote.sh(path)))
      return "removed " .. path
    end
    if options.dropin then target.node:run(("install -d -m 0755 -- %s"):format(quote.sh(FOLDER .. name .. ".d"))) end
    target.node:push(path, (content(target)), { mode = options.mode, user = "root" })
    commands.run(self, target, "systemctl daemon-reload")
    return ("wrote %s, reloaded systemd"):format(path)
  end

  return made
end

local unit_name = schema.text {
  pattern = "[%w:_.\\@-]+%.%l+", what = 'the name of a unit with its kind: "app.service"', max = 255,
}

return resource.define {
  kind = "unit",
  parameters = {
    name = { unit_name, required = true },
    content = { parameter.computed(parameter.secret(parameter.text)) },
    dropin = { schema.text { pattern = "[%w_.-]+", what = "a name of letters, digits, . _ -" } },
    mode = { parameter.mode, default = "0644" },
    state = { parameter.state(), default = "present" },
  },
  words = { text = "content", drop_in = "dropin" },
  name = function(options)
    return options.dropin and ("%s (%s)"):format(options.name, options.dropin) or options.name
  end,
  check = function(options, report)
    if options.state == "present" and not options.content then report "content is missing" end
  end,
  make = make,
}
