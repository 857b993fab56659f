---@meta pgafrun.program
-- What this run of pgafrun was asked to do.
local program = {}

---@type string
program.version = ""
---@type string? path of the script; nil with -e
program.script = nil
---@type string? the -i option
program.inventory = nil
---@type "text"|"json"
program.log_format = "text"
---@type integer -2 (-qq) .. 2 (-vv)
program.verbosity = 0
---@type string[] folders that hold stdlib/ and scripts/, first wins
program.roots = {}

---For a script that somebody keeps open: it has no deadline any more, unless --deadline gave one. To be called first.
function program.run_on() end

---@type boolean --attachable
program.attachable = false
---@type boolean --break-on-failure
program.break_on_failure = false

---Lets who attaches to this run see an object under a name, as a drill shows itself: its methods can be called from there.
---@param name string
---@param object any nil: no more
function program.expose(name, object) end

---@type table<string, any> what was exposed
program.exposed = {}

return program
