-- A play: steps, what they need before them, and on whom they run. Two "web servers" are two folders of this machine.
-- The second run finds everything as wanted. Try it with --check, --diff, --list-tasks, --graph or --tags content.

local cli = require "pgaf.cli"
local fs = require "pgafrun.fs"
local here = require "pgaf.here"
local play = require "pgaf.play"
local resource = require "pgaf.resource"

local arguments = cli.parse({ name = "play_steps", description = "Makes two pages.", inventory = false },
  play.options, ...)

local folder <const> = fs.mkdtemp "pgafrun-example-"
local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })

local function path(target, name) return ("%s/%s%s"):format(folder, target.name, name) end

local p = play.new {
  title = "Two web servers", targets = { here.target "web-1", here.target "web-2" }, groups = { first = { "web-1" } },
}

-- On both of them, side by side.
p:step { "folder", resource = function(target) return resource.directory { path = path(target, "") } end }

-- After this target's folder; the other's does not matter.
p:step {
  "page", tags = "content", needs = "folder",
  resource = function(target)
    return resource.file { path = path(target, "/index.html"), content = "hello from " .. target.name .. "\n" }
  end,
}

-- On one, after all pages.
p:step {
  "list of pages", on = "first", needs = { play.everywhere "page" },
  resource = function(target)
    return resource.command {
      script = ("cat %s/*/index.html >%s"):format(folder, path(target, "/all")), creates = path(target, "/all"),
      name = "cat", done = "listed the pages",
    }
  end,
}

local status = play.main(p, arguments)
if status ~= 0 or ... then return status end
print "once more:"
return play.main(p, arguments)
