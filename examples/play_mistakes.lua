-- Every mistake that a plan can see is told at once, with file and line, before anything is touched.

local error = require "pgafrun.error"
local here = require "pgaf.here"
local play = require "pgaf.play"
local resource = require "pgaf.resource"

local p = play.new { title = "Mistakes", targets = { here.target "server" } }
p:step {
  "page",
  resource = resource.file { pth = "/srv/index.html", content = "hello\n", mode = "rw-r--r--" },
}
p:step {
  "service", needs = "pages", on = "servers",
  resource = resource.servcie { name = "nginx" },
}

local ok, raised = pcall(p.plan, p)
assert(not ok and error.is(raised, "plan"))
print(raised.message)
