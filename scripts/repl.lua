-- A prompt with the formation at hand: look at it, ask it anything, act on it. Expressions show their value.
--
--     pgafrun -i INVENTORY repl
--     pgafrun repl                                  without a formation: Lua and the runtime's modules
--     echo 'formation' | pgafrun -i INVENTORY repl  what is piped in is run; exit code by the last error

local throw = error
local cli = require "pgaf.cli"
local commands = require "pgaf.repl.commands"
local program = require "pgafrun.program"
local task = require "pgafrun.task"
local tty = require "pgafrun.tty"

local STDIN = 0

local SPEC = {
  name = "repl", inventory = false,
  description = "A prompt for Lua, with the inventory's formation at hand. :help tells more.",
  epilog = [[
Without a terminal the script on standard input is run, each input as if it were typed. Exit codes:
  0    no input ended with an error
  1    one did; 64 and 130 when the last of those was wrong usage, or was interrupted]],
}

local args = cli.parse(SPEC, function(parser)
  cli.inventory_options(parser)
  parser:option("--i-know-this-is", "The name of a formation marked production: nothing is asked about it.")
    :argname "NAME"
end, ...)

program.run_on()

local inventory
if args.inventory or program.inventory then inventory = cli.inventory(SPEC.name, args) end

-- From here on Ctrl-C is the prompt's.
local terminal <close> = tty.is_terminal(STDIN) and require("pgaf.repl.terminal").open() or nil

if terminal then require("pgaf.debugger").offer(require("pgaf.debugger.terminal").share(terminal)) end

local function write(text)
  if terminal then return terminal:write(text) end
  io.stdout:write(text)
  io.stdout:flush()
end

local function say(text) write(text:sub(-1) == "\n" and text or text .. "\n") end

local background <close> = task.group { name = "background" }
local preload = require "pgaf.repl.preload"
local guard = require("pgaf.repl.guard").new(inventory, args.i_know_this_is,
  terminal and function(prompt) return terminal:ask(prompt) end)
local scene <close> = inventory and require("pgaf.repl.scene").open {
  inventory = inventory, guard = guard, say = say, group = background,
} or nil

local session = require("pgaf.repl.session").new {
  environment = preload.environment { scene = scene, guard = guard, background = background, print = say },
  write = write, background = background,
  columns = terminal and terminal.columns, foreground = terminal and function(t) terminal:foreground(t) end,
}
session.about = preload.about(scene)
if scene then session.events = require("pgaf.repl.events").new(scene, background) end

-- What was begun beside the prompt ends with it.
local function run()
  local _ <close> = setmetatable({}, { __close = function() background:cancel() end })
  if not terminal then return require("pgaf.repl.piped").run(session) end
  background:spawn_named("annotations", pcall, commands.load_help, session)
  local marked = inventory and inventory.environment == "production" and " (production)" or ""
  say(inventory and ("formation %s, %s, %d data nodes; :help tells what there is"):format(inventory.formation,
    inventory.environment, #inventory.nodes) or "no formation (start with -i INVENTORY); :help tells what there is")
  terminal:run(session, (inventory and inventory.formation or "pgafrun") .. marked .. "> ")
  return 0
end

local ok, result = pcall(run)
if ok then return result end
local is_exit = type(result) == "table" and rawget(result, "kind") == "exit"
return is_exit and (result.status or 0) or throw(result, 0)
