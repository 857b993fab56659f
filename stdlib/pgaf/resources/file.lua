-- A file with this content, mode and owner; or none.
--
--     resource.file { path = "/etc/motd", content = "hello\n", mode = "0644" }
--     resource.file { path = "/etc/app.key", source = "files/app.key", user = "app" }
--     resource.file { path = "/etc/old.conf", state = "absent" }
--
-- It is written to a private temporary name and renamed: it is old or new, never half, and never readable by others in
-- between. It takes the place of a link, whatever that points to. The folder is not made: that is resource.directory's.

local crypto = require "pgafrun.crypto"
local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.FileOptions
---@field path string absolute, on the node
---@field content? string|pgaf.Secret|fun(target: pgaf.Target): string|pgaf.Secret its text; a secret is never shown
---@field source? string instead of content: a file on this machine; a relative name is looked up beside the script
---@field mode? string octal, default "0600"
---@field user? string owner, default "root" (on this machine itself, who runs pgafrun)
---@field group? string default: the owner's own
---@field shown? boolean whether --diff shows the content; default: if everybody may read the file
---@field state? "present"|"absent" default "present"

local function make(options)
  local path = options.path
  local made = { reads = files.reads(options, options.state == "absent" and "stat" or "file") }

  if options.state == "absent" then
    function made:probe(_, facts)
      local now = facts.stat[path]
      if now and now.type == "directory" then
        files.refuse(self, path .. " is a directory", "a directory goes by resource.directory")
      end
      return now and path .. " is there" or nil
    end

    function made:changes(target, facts) return { files.change(target, facts, path, nil) } end

    function made:apply(target)
      target.node:run("rm -f -- " .. quote.sh(path))
      return "removed " .. path
    end

    return made
  end

  local function content(target)
    if options.source then return files.read_source(options.source, made), false end
    return parameter.reveal(options.content, target)
  end

  function made:probe(target, facts)
    return files.difference(facts.file[path], options, target, function() return crypto.sha256((content(target))) end,
      facts)
  end

  function made:changes(target, facts)
    local text, is_secret = content(target)
    return files.changes(target, facts, options, text, is_secret)
  end

  function made:apply(target, _, facts)
    target.node:push(path, (content(target)), files.ownership(options, target, facts))
    return "wrote " .. path:match "[^/]+$"
  end

  return made
end

return resource.define {
  kind = "file",
  parameters = {
    path = { parameter.path, required = true },
    content = { parameter.computed(parameter.secret(parameter.text)) },
    source = { parameter.line },
    mode = { parameter.mode, default = "0600" },
    user = { parameter.name },
    group = { parameter.name },
    shown = { schema.boolean() },
    state = { parameter.state(), default = "present" },
  },
  words = { dest = "path", src = "source", owner = "user" },
  name = function(options) return options.path end,
  check = function(options, report)
    local given = (options.content and 1 or 0) + (options.source and 1 or 0)
    if options.state == "present" and given ~= 1 then report "wants either content or source" end
    if options.state == "absent" and given > 0 then report "absent, and yet with content" end
    local problem = options.source and files.problem_with(options.source)
    if problem then report("source: " .. problem) end
  end,
  make = make,
}
