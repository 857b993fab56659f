-- Check mode: every question is asked for real, and nothing is changed. A step that would need what another one has
-- still to make says so.

local fs = require "pgafrun.fs"
local here = require "pgaf.here"
local play = require "pgaf.play"
local resource = require "pgaf.resource"

local folder <const> = fs.mkdtemp "pgafrun-example-"
local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })

local conf <const> = folder .. "/app/app.conf"

local p = play.new { title = "An application", targets = { here.target "app" } }
p:step { "folder", resource = resource.directory { path = folder .. "/app" } }
p:step {
  "settings", needs = "folder",
  resource = resource.file { path = conf, content = "port = 80\nlog = on\n", mode = "0644" },
}
p:step {
  "log level", needs = "settings", resource = resource.line { path = conf, pattern = "^log", line = "log = off" },
}

print "nothing is there yet:"
assert(play.main(p, { check = true }) == 2)
assert(not fs.stat(folder .. "/app"), "check mode changed something")

print "made:"
assert(play.main(p, {}) == 0)

print "somebody changes a file by hand:"
fs.write(conf, "port = 8080\nlog = off\n", { mode = tonumber("644", 8) })
return play.main(p, { check = true, diff = true }) == 2 and 0 or 1
