-- What somebody who attaches to a run sees of it, and what they can ask beyond what every session answers.

local inspect = require "pgaf.repl.inspect"
local program = require "pgafrun.program"
local sorted_keys = require "pgaf.sorted_keys"
local task = require "pgafrun.task"

local overview = { commands = {} }

local function count(nodes)
  local n = #nodes
  for _, node in ipairs(nodes) do n = n + count(node.children) end
  return n
end

---One line or two about the run.
---@return string
function overview.greeting()
  local names, script = sorted_keys(program.exposed), {}
  for _, node in ipairs(task.tree()) do
    if not node.service then script[#script + 1] = node end
  end
  local n = count(script)
  return ("%d %s; the script shows %s\n:tasks, :handles, :timeline, :help; :quit leaves, and the run goes on"):format(
    n, n == 1 and "task" or "tasks", #names > 0 and table.concat(names, ", ") or "nothing of its own")
end

-- An object of the script's with a timeline, as a drill is.
local function timelines()
  local found = {}
  for _, name in ipairs(sorted_keys(program.exposed)) do
    local object = program.exposed[name]
    local ok, timeline = pcall(function() return object.timeline end)
    if ok and type(timeline) == "table" and timeline.export then found[#found + 1] = { name, timeline } end
  end
  return found
end

overview.commands.timeline = {
  usage = "", summary = "what has happened so far, of a drill: seconds since the fault",
  run = function(repl)
    local found = timelines()
    if #found == 0 then return repl:say "there is no timeline: this is no drill, or it has not begun to watch" end
    for _, one in ipairs(found) do
      for _, entry in ipairs(one[2]:export()) do
        repl:say(inspect.plain(("%+9.3f s  %-8s %-12s %s"):format(entry.seconds, entry.source, entry.node or "",
          entry.text)))
      end
    end
  end,
}

overview.commands.abort = {
  usage = "", summary = "ends the whole run, which puts back what it began",
  run = function(repl)
    repl:say "the run is asked to end, and puts back what it began"
    task.abort()
  end,
}

return overview
