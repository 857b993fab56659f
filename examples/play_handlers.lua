-- Handlers: what has to follow a change, once, after all that may ask for it. Sections: parts with a title.

local fs = require "pgafrun.fs"
local here = require "pgaf.here"
local play = require "pgaf.play"
local resource = require "pgaf.resource"

local folder <const> = fs.mkdtemp "pgafrun-example-"
local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })

local restarts = 0

local p = play.new { title = "A server with two files", targets = { here.target "server" } }

local settings = p:section { "Its settings", tags = "settings" }
for _, name in ipairs { "one", "two" } do
  settings:step {
    "settings " .. name, notify = "restart",
    resource = resource.file { path = ("%s/%s.conf"):format(folder, name), content = name .. " = 1\n" },
  }
end

-- Both files changed, and it is restarted once. In a play on real machines:
--     resource = resource.service { name = "server", state = "restarted" }
p:handler { "restart", run = function()
  restarts = restarts + 1
  return "restarted", true
end }

for _ = 1, 2 do
  local status = play.main(p, {})
  if status ~= 0 then return status end
end
print("restarts: " .. restarts)
return 0
