-- A symbolic link.
--
--     resource.link { path = "/etc/localtime", target = "/usr/share/zoneinfo/Europe/Berlin" }

local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.LinkOptions
---@field path string absolute, on the node: the link itself
---@field target? string what it points to; need not exist
---@field state? "present"|"absent" default "present"
---@field force? boolean takes the place of a file that is there; default false, and never that of a directory

local function make(options)
  local path, wanted = options.path, options.state == "present" and options.target or nil
  local made = { reads = { { "link", path }, { "stat", path } } }

  function made:probe(_, facts)
    local file, now = facts.stat[path], facts.link[path]
    if now and now == wanted then return nil end
    if file and file.type ~= "link" then
      if file.type ~= "file" or not options.force then
        files.refuse(self, ("%s is a %s"):format(path, file.type), file.type == "file" and
          "force = true replaces it" or "move it away")
      end
    end
    if not wanted then return file and path .. " is there" or nil end
    return now and ("%s points to %s"):format(path, now) or file and path .. " is a file" or path .. " is missing"
  end

  function made:changes(_, facts)
    return { { what = path, before = facts.link[path] or facts.stat[path] and "a file" or nil, after = wanted } }
  end

  function made:apply(target)
    if not wanted then
      target.node:run("rm -f -- " .. quote.sh(path))
      return "removed " .. path
    end
    target.node:run(("ln -sfnT -- %s %s"):format(quote.sh(wanted), quote.sh(path)))
    return ("linked %s to %s"):format(path, wanted)
  end

  return made
end

return resource.define {
  kind = "link",
  parameters = {
    path = { parameter.path, required = true },
    target = { parameter.line },
    state = { parameter.state(), default = "present" },
    force = { schema.boolean() },
  },
  words = { dest = "path", src = "target", source = "target" },
  name = function(options) return options.path end,
  check = function(options, report)
    if options.state == "present" and not options.target then report "target is missing" end
  end,
  make = make,
}
