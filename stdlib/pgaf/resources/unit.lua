-- A unit of systemd, or a drop-in that changes one; systemd has read it (daemon-reload) when this is done.
--
--     resource.unit { name = "app.service", content = "[Service]\nExecStart=/usr/bin/app\n" }
--     resource.unit { name = "cron.service", dropin = "limits", content = "[Service]\nLimitNOFILE=65536\n" }
--
-- Whether it runs, and does after a boot, is resource.service's: a unit that goes is not stopped by that. A file that
-- systemd refuses is an error, and what was there before is put back.

local commands = require "pgaf.resource.commands"
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local units = require "pgaf.resource.units"

---@class pgaf.UnitOptions
---@field name string with its kind: "app.service", "backup.timer"
---@field content? string|pgaf.Secret|fun(target: pgaf.Target): string the file's text
---@field dropin? string name of a drop-in for that unit, instead of the unit itself
---@field mode? string octal, default "0644"
---@field state? "present"|"absent" default "present"

local FOLDER = "/etc/systemd/system/"

-- Of a template, an instance tells what systemd makes of it.
local LOADED = "systemctl show -p LoadState --value -- %s"

local function make(options)
  local name = options.name
  local path = FOLDER .. name .. (options.dropin and (".d/%s.conf"):format(options.dropin) or "")
  local absent = options.state == "absent"
  local what = options.dropin and ("drop-in %s of %s"):format(options.dropin, name) or name
  local made = { reads = { { "file", path }, { "unit", name } } }
  local file = { path = path, mode = options.mode, user = "root" }

  local function content(target)
    local text, is_secret = parameter.reveal(options.content, target)
    local problem, line = units.problem_of(text)
    if problem then
      files.refuse(made, ("the content of %s for %s: %s: %s"):format(
        what, target.name, problem, is_secret and "<secret>" or line))
    end
    return text, is_secret
  end

  function made:probe(target, facts)
    local now, unit = facts.file[path], facts.unit[name]
    local difference
    if absent then
      difference = now and path .. " is there" or nil
    else
      local text = content(target)
      difference = files.difference(now, file, target, function() return crypto.sha256(text) end)
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

  -- What systemd makes of the file is known only when it has read it.
  local function refuse_loaded(target, state, now, before)
    local _, is_secret = content(target)
    local said = not is_secret and
      target.node:run("systemd-analyze verify " .. quote.sh(path), { check = false }).stderr or ""
    if before then
      target.node:push(path, before, { mode = now.mode, user = now.user, group = now.group })
    else
      target.node:run("rm -f -- " .. quote.sh(path))
    end
    commands.run(made, target, "systemctl daemon-reload")
    error.raise {
      kind = "config", operation = ("unit %s on %s"):format(made.name, target.name), code = state,
      message = ("systemd does not take %s (LoadState=%s)%s"):format(what, state, commands.last_lines(said)),
      hint = ("%s is as it was before"):format(path),
    }
  end

  function made:apply(target, _, facts)
    if absent then
      commands.run(self, target, ("rm -f -- %s && systemctl daemon-reload"):format(quote.sh(path)))
      return "removed " .. path
    end
    if options.dropin then target.node:run(("install -d -m 0755 -- %s"):format(quote.sh(FOLDER .. name .. ".d"))) end
    local now = facts.file[path]
    local before = now and now.type == "file" and target.node:pull(path) or nil
    target.node:push(path, (content(target)), { mode = options.mode, user = "root" })
    commands.run(self, target, "systemctl daemon-reload")
    local state = target.node:run(LOADED:format(quote.sh((name:gsub("@%.", "@x."))))).stdout:match "%S*"
    if state == "error" or state == "bad-setting" then refuse_loaded(target, state, now, before) end
    return ("wrote %s, reloaded systemd"):format(path)
  end

  return made
end

return resource.define {
  kind = "unit",
  parameters = {
    name = { units.name, required = true },
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
    if type(options.content) ~= "string" then return end
    local problem, line = units.problem_of(options.content)
    if problem then report(("content: %s: %s"):format(problem, line)) end
  end,
  make = make,
}
