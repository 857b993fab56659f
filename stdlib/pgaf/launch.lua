-- Runs a script so that a person can look into it: what --attachable and --break-on-failure ask for.

local program = require "pgafrun.program"

---@param script function
---@return function what runs it
return function(script)
  return function(...)
    if program.attachable then require("pgaf.attach.server").start() end
    if program.break_on_failure then require("pgaf.debugger").arm() end
    return script(...)
  end
end
