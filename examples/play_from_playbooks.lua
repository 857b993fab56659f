-- What playbooks say with a keyword, and a play says in Lua: changed_when, failed_when, ignore_errors, set_fact, loop,
-- listen, flush_handlers, include_tasks, block/rescue/always, delegate_to, post_tasks.

local error = require "pgafrun.error"
local here = require "pgaf.here"
local play = require "pgaf.play"
local task = require "pgafrun.task"

local a, b = here.target "a", here.target "b"
local p = play.new { title = "Words of playbooks", targets = { a, b } }

-- register; changed_when: what a function returns is its result, and then whether (or what) it changed.
p:step { "uptime", run = function(target)
  return target.node:run("cat /proc/uptime").stdout, false
end }

-- failed_when: the function judges for itself. check = false returns a status instead of raising it.
p:step { "judged", on = "a", run = function(target)
  local result = target.node:run("echo 0 warnings; exit 3", { check = false })
  if result.code ~= 3 or result.stdout:find "[1-9] warnings" then
    error.raise { kind = "command", message = "there are warnings", hint = "read them" }
  end
  return result.code, false
end }

-- ignore_errors: caught and told. A cancelled run shall still end: that is what task.check is for.
p:step { "ignored", on = "a", run = function(target)
  local ok, raised = pcall(target.node.run, target.node, "exit 7")
  if ok then return true end
  task.check()
  print("it goes on: " .. tostring(raised))
  return false, false
end }

-- set_fact: a value of the target, for the steps that need this one. check_safe: in check mode too.
p:step { "size", check_safe = true, run = function(target)
  target.vars = target.vars or {}
  target.vars.size = #target.name * 21
end }

-- loop; include_tasks: a function that declares steps, here or in a file of its own (dofile, require).
local function greeting(name, vars)
  p:step { "greet " .. name, on = vars.on, needs = "size", run = function(target)
    print(("%s: hello %s, size %d"):format(target.name, name, target.vars.size))
  end }
end
for _, name in ipairs { "one", "two" } do greeting(name, { on = "b" }) end

-- listen: one name for several handlers is a list. flush_handlers: a step may need a handler.
local web_changed = { "restart", "tell" }
p:step { "page", on = "a", notify = web_changed, run = function() return "written" end }
p:handler { "restart", run = function() print "restarted" end }
p:handler { "tell", needs = "restart", run = function() print "told" end }
p:step { "smoke test", on = "a", needs = web_changed, run = function() print "after the handlers" end }

-- block, rescue, always.
p:step { "guarded", on = "b", needs = { play.everywhere "smoke test" }, run = function(target)
  local _ <close> = setmetatable({}, { __close = function() print "always" end })
  local ok = pcall(target.node.run, target.node, "exit 9")
  if not ok then
    task.check()
    return "rescued"
  end
end }

-- delegate_to: any node that the script holds. post_tasks: what needs the others everywhere; p.after tells at the end.
p:step { "last", on = "b", needs = { play.everywhere "guarded", play.everywhere "judged", play.everywhere "ignored" },
  run = function(_, results)
    print(a.node:run("echo said by a").stdout:match "[^\n]+", results:of("judged", "a"), results:of("ignored", "a"))
    return nil, false
  end }
function p.after(result) print("failed: " .. tostring(result.failed)) end

return play.main(p, {})
