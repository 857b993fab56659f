-- Looks into a run that is under way: what it does, what each task waits for, a drill's timeline so far.

local cli = require "pgaf.cli"
local columns = require "pgaf.columns"
local client = require "pgaf.attach.client"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local tty = require "pgafrun.tty"

local STDIN = 0
local COLUMNS = 100

local args = cli.parse({
  name = "attach",
  description = "Open a prompt in a run that was started with --attachable (or PGAFRUN_ATTACHABLE=1); without RUN, " ..
    "list them. Leaving the prompt leaves the run as it is.",
  epilog = [[
Examples:
  pgafrun --attachable -i INVENTORY failover_drill &
  pgafrun attach
  pgafrun attach failover_drill
  pgafrun attach failover_drill -c :tasks -c :timeline

Exit codes:
  0    done
  1    it cannot be attached to, or the last input of -c or standard input ended with an error
  64   wrong usage: no such run]],
  inventory = false,
}, function(parser)
  parser:argument("run", "A script's name, a process id, or a socket."):args "?":argname "RUN"
  parser:option("-c --command", "Type this and leave; several are typed in turn."):argname "LINE":count "*"
  parser:flag("--json", "Without RUN: one JSON object a run.")
end, ...)

local function list()
  local found = client.find()
  if args.json then
    for _, run in ipairs(found) do
      local hello = run.hello or {}
      print(json.encode {
        name = run.name, pid = run.pid, socket = run.path, script = hello.script, inventory = hello.inventory,
        started = hello.started, version = hello.version, problem = run.problem,
      })
    end
    return
  end
  if #found == 0 then return print "no run can be attached to: start one with --attachable" end
  local rows = { { "PROCESS", "SCRIPT", "STARTED", "INVENTORY" } }
  for i, run in ipairs(found) do
    local hello = run.hello or {}
    rows[i + 1] = { ("%d"):format(run.pid), run.name, hello.started or "-", run.problem or hello.inventory or "-" }
  end
  for _, line in ipairs(columns.lines(rows)) do print(line) end
end

-- Lines that are there already, in place of a terminal.
local function given(lines)
  local i = 0
  return {
    read = function()
      i = i + 1
      return lines[i]
    end,
    write = function(_, text) io.stdout:write(text) end,
    foreground = function() end,
  }
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

local function typed()
  local terminal
  local editor = require("pgafrun.line").open {
    complete = function(before)
      if terminal.complete then return terminal.complete(before) end
    end,
  }
  terminal = {
    read = function(_, prompt)
      local line, why = editor:read(prompt)
      if line then editor:remember(line) end
      return line, why
    end,
    write = function(_, text) editor:print_above(text) end,
    completed = function(_, before, above) editor:complete(before, above) end,
    foreground = function(_, t) editor:foreground(t) end,
    resized = function(self)
      if self.told then tty.wait_resize() end
      self.told = true
      return tty.size(STDIN) or COLUMNS
    end,
    close = function() editor:close() end,
  }
  return terminal
end

if not args.run then return list() end
local path = client.path(args.run)
if #args.command > 0 or not tty.is_terminal(STDIN) then
  local failed = client.talk(path, given(#args.command > 0 and args.command or lines_of(fs.read "/dev/stdin")))
  return failed and 1 or 0
end
local terminal <close> = setmetatable(typed(), { __close = function(self) self.close() end })
local _, farewell = client.talk(path, terminal, function(hello)
  terminal:write(("attached to %s, process %d, started %s\n%s\n"):format(hello.script or "a run", hello.pid,
    hello.started, hello.greeting))
end)
print(farewell or "the run goes on")
