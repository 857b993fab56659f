-- An inventory that builds on another, with groups and variables: what comes of it, and where each value was written.

local explain = require "pgaf.inventory.explain"
local fs = require "pgafrun.fs"
local inventory = require "pgaf.inventory"

local folder <const> = fs.mkdtemp "pgafrun-example-"
local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })

fs.write(folder .. "/common.lua", [[
return {
  provider = { kind = "local" },
  monitor = { name = "monitor" },
  nodes = { { name = "one" }, { name = "two", vars = { color = "green" } } },
  application = { password = "only-for-a-lab" },
  vars = { color = "red" },
  groups = { warm = { hosts = { "one", "two" }, vars = { color = "orange" } } },
}]])
fs.write(folder .. "/lab.lua", [[
return require("pgaf.inventory").extend("common.lua", {
  environment = "lab",
  formation = "example",
  groups = { warm = { node = { candidate_priority = 80 } } },
})]])

local lab = inventory.load(folder .. "/lab.lua", { extra = { "postgres.version=15", "season=autumn" } })
for _, name in ipairs(lab.groups.all) do print(name, lab.vars[name].color, lab.vars[name].season) end

local function show(list, wanted)
  for _, one in ipairs(list) do
    if one.key == wanted then
      print(("%s = %s, from %s"):format(one.key, one.value, one.from:gsub("[^%s(]*/", "")))
    end
  end
end
show(explain.formation(lab), "postgres.version")
show(explain.formation(lab), "application.password")
show(explain.host(lab, "two").keys, "candidate_priority")
show(explain.host(lab, "two").vars, "color")
