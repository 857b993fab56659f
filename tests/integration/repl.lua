-- The prompt under a real terminal, and as a script that is piped in.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local test = require "pgaf.test"

local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local terminals = dofile(here .. "/support/terminal.lua")

local BINARY = process.getenv "PGAFRUN_TEST_BINARY"
local ENVIRONMENT = {
  PGAFRUN_PATH = program.roots[1], PGAFRUN = BINARY, ASAN_OPTIONS = process.getenv "ASAN_OPTIONS",
}

local T = {}

-- A terminal with a prompt in it.
local function open(arguments)
  local terminal = terminals.open(ENVIRONMENT)
  terminal:enter("$PGAFRUN " .. (arguments or "repl"))
  terminal:wait(":help tells what there is")
  return terminal
end

-- The prompt stands there, and nothing behind it.
local function is_ready(screen) return screen:match "[^\n]*$":find "^[%w-]+>$" ~= nil end

local function ready(terminal) return terminal:wait(is_ready) end

local function count(text, wanted)
  local _, n = text:gsub(wanted, "")
  return n
end

-- The lines that an inventory of nodes that do not exist needs.
local function write_inventory(folder, environment)
  local path = folder .. "/inventory.lua"
  fs.write(path, ([[return { environment = %q, formation = "wares", provider = { kind = "local", root = %q },
    monitor = { name = "m", port = 6690 }, nodes = { { name = "n1", port = 6691 }, { name = "n2", port = 6692 } },
    postgres = { source = "distribution" },
    application = { database = "a", password = require("pgaf.secret").env "NO_SUCH", networks = { "127.0.0.1/32" } },
    operator_networks = { "127.0.0.1/32" } }]]):format(environment, folder .. "/f"))
  return path
end

-- -------------------------------------------------------------------------------------------------- on a terminal

function T.test_typing_editing_and_completing()
  local terminal <close> = open()
  terminal:enter "1 + 1"
  terminal:wait "\n2\n"
  terminal:type "tas"
  terminal:press "Tab"
  terminal:wait "> task"
  terminal:type ".sl"
  terminal:press "Tab"
  terminal:type "(0), 'é'"
  terminal:press("Home", "C-d", "C-e")
  terminal:wait "> ask.sleep(0), 'é'"
  terminal:press "Home"
  terminal:enter "#'x', t"
  terminal:wait '\n1\nnil\n"é"\n'
  terminal:type "string.l"
  terminal:press "Tab"
  terminal:wait "> string.l" -- len and lower: both are offered
  terminal:press "Tab"
  terminal:wait "len    lower"
  terminal:press "C-c"
  terminal:wait "string.l^C"
  terminal:press "C-d"
  terminal:wait(function(screen) return screen:find "%$$" end)
end

function T.test_history_across_sessions()
  local terminal <close> = open()
  terminal:enter "6 * 7"
  terminal:wait "\n42\n"
  terminal:enter "for i = 1, 2 do"
  terminal:wait "..."
  terminal:enter "print('line', i) end"
  terminal:wait "line    2"
  terminal:enter "sql = \"alter role x password 'quite secret'\""
  terminal:enter ":quit"
  terminal:wait(function(screen) return screen:find "%$$" end)
  local path = terminal.folder .. "/.local/state/pgafrun/history"
  lu.assertEquals(fs.stat(path).mode, tonumber("600", 8))
  lu.assertEquals(fs.read(path), "6 * 7\nfor i = 1, 2 do\\nprint('line', i) end\n:quit\n")

  terminal:enter "clear; $PGAFRUN repl"
  ready(terminal)
  terminal:press("Up", "Up")
  terminal:wait "print('line', i) end"
  terminal:press "Enter"
  terminal:wait "line    2"
  terminal:press "C-r"
  terminal:type "* 7"
  terminal:wait "6 * 7"
  terminal:press "Enter"
  terminal:wait "\n42\n"
end

function T.test_ctrl_c_ends_a_call_and_not_the_session()
  local terminal <close> = open()
  terminal:enter "print 'begun' task.sleep(600)"
  terminal:wait "\nbegun"
  terminal:press "C-c"
  terminal:wait "interrupted"
  terminal:enter "_err.kind"
  terminal:wait '"cancelled"'
  terminal:enter "print 'spins' while true do end"
  terminal:wait "\nspins"
  terminal:press "C-c"
  terminal:wait(function(screen) return count(screen, "interrupted") == 2 end)
  terminal:enter "x = ("
  terminal:wait "..."
  terminal:press "C-c"
  for i = 1, 5 do
    terminal:wait(function(screen) return count(screen, "%^C") >= i + 2 and is_ready(screen) end)
    terminal:press "C-c"
  end
  terminal:enter "'still ' .. 'here'"
  terminal:wait '"still here"'
end

function T.test_tasks_print_above_the_line()
  local terminal <close> = open()
  terminal:enter "background(function() for i = 1, 3 do task.sleep(0.2) print('tick ' .. i) end end)"
  terminal:type "a line that"
  local screen = terminal:wait "tick 3"
  lu.assertStrContains(screen, "tick 1\ntick 2\ntick 3\npgafrun> a line that")
  terminal:press "C-u"
  terminal:enter "background(function() require('pgafrun.log').warn 'a message' end)"
  terminal:wait "warning: a message\n"
end

function T.test_a_paste_of_a_megabyte()
  local terminal <close> = open()
  local lines = {}
  for i = 1, 16384 do lines[i] = ("%07d %s"):format(i, ("x"):rep(55)) end
  local text = table.concat(lines, "\n")
  lu.assertEquals(#text, 1024 * 1024 - 1)
  terminal:paste("pasted = [[\n" .. text .. "]]")
  terminal:wait(("x"):rep(55) .. "]]")
  terminal:press "Enter"
  terminal:enter "#pasted, pasted:sub(-63, -56)"
  terminal:wait '1048575\n"0016384 "'
end

function T.test_pasted_statements_wait_for_enter()
  local terminal <close> = open()
  terminal:paste "a = 20\na + 1\n:log\n"
  terminal:wait ":log"
  lu.assertNotStrContains(terminal:screen(), "21")
  terminal:press "Enter"
  terminal:wait "\n21\ninfo\n"
end

function T.test_another_size()
  local terminal <close> = open()
  local text = "'a text that is long enough for two rows of a narrow terminal'"
  terminal:type(text)
  terminal:wait(text)
  terminal:resize(40, 20)
  terminal:wait(function(screen) return screen:gsub("\n", ""):find(text, 1, true) end)
  terminal:resize(90, 20)
  terminal:wait(text)
  terminal:type " .. '!'"
  terminal:press "Enter"
  terminal:wait 'terminal!"\n'
end

-- ------------------------------------------------------------------------------------------------ however it ends

local function assert_restored(terminal, code)
  terminal:wait(function(screen) return screen:find "%$$" end)
  terminal:enter "echo code $?; stty -a | tr -s ' ;' '\\n\\n' | grep -xE -- '-?(icanon|echo|isig)' | xargs echo modes"
  terminal:wait("code " .. code .. "\n")
  lu.assertStrContains(terminal:wait(function(text) return text:find "\nmodes[^\n]+\n" end), "modes isig icanon echo\n")
end

function T.test_the_terminal_is_restored_whatever_ends_the_session()
  local terminal <close> = terminals.open(ENVIRONMENT)
  for signal, code in pairs { HUP = 129, TERM = 143 } do
    for _, running in ipairs { "", "print 'begun' task.sleep(600)" } do
      terminal:enter("clear; $PGAFRUN repl & pid=$!; (while ! [ -e ~/go ]; do sleep 0.1; done; rm ~/go; kill -" ..
        signal .. " $pid) & fg %1")
      ready(terminal)
      if running ~= "" then
        terminal:enter(running)
        terminal:wait "\nbegun"
      else
        terminal:type "half a li"
        terminal:wait "half a li"
      end
      fs.write(terminal.folder .. "/go", "")
      assert_restored(terminal, code)
    end
  end
end

function T.test_stopped_and_continued()
  local terminal <close> = open()
  terminal:type "1 + 4"
  terminal:wait "1 + 4"
  terminal:press "C-z"
  terminal:wait "Stopped"
  assert_restored(terminal, 147)
  terminal:enter "fg"
  terminal:wait(function(screen) return screen:find "1 %+ 4$" end)
  terminal:press "Enter"
  terminal:wait "\n5\n"
end

-- ------------------------------------------------------------------------------------------------------ production

function T.test_production_asks_first()
  local terminal <close> = terminals.open(ENVIRONMENT)
  local path = write_inventory(terminal.folder, "production")
  terminal:enter("$PGAFRUN -i " .. path .. " repl")
  terminal:wait "wares (production)>"
  terminal:enter 'nodes["n1"]:stop()'
  terminal:wait "To stop n1, type its name:"
  terminal:enter "yes"
  terminal:wait "not done: stop n1"
  terminal:type 'nodes["'
  terminal:press "Tab"
  terminal:type "2"
  terminal:press "Tab"
  terminal:enter ".name"
  terminal:wait '\n"n2"\n'
end

-- ------------------------------------------------------------------------------------------------------------ piped

local function piped(text, ...)
  local command = { BINARY, ... }
  command.stdin, command.extend_env = text, { PGAFRUN_PATH = program.roots[1] }
  return process.run(command)
end

function T.test_a_script_piped_in()
  local r = piped("x = 1\nfor i = 1, 2 do\n  x = x + i\nend\nx\n:log\n", "repl")
  lu.assertEquals({ r.code, r.stdout, r.stderr }, { 0, "4\ninfo\n", "" })
  lu.assertEquals(piped("", "repl").code, 0)
  lu.assertEquals(piped("'no line end'", "repl").stdout, '"no line end"\n')
end

function T.test_exit_codes_of_a_script_piped_in()
  for text, code in pairs {
    ["error 'x'\n'goes on'"] = 1, [":nosuch"] = 64, ["os.exit(7)\nerror 'x'"] = 7, ["f("] = 1, ["error 'x'\n:quit"] = 1,
    ["error 'x'\n:nosuch"] = 64, ["require('pgafrun.error').raise { kind = 'cancelled', message = 'm' }"] = 130,
  } do
    lu.assertEquals(piped(text, "repl").code, code, text)
  end
  lu.assertStrContains(piped("error 'x'\n'goes on'", "repl").stdout, '"goes on"')
end

function T.test_production_without_a_terminal_is_refused()
  local folder = fs.mkdtemp "pgafrun-r-"
  local path = write_inventory(folder, "production")
  local r = piped("nodes.n1:stop()", "-i", path, "repl")
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stdout, "start with --i-know-this-is wares")
  r = piped("nodes.n1:status()\n_ == 'absent'\nnodes.n3", "-i", path, "repl", "--i-know-this-is", "wares")
  lu.assertStrContains(r.stdout, '"absent"\ntrue\n')
  lu.assertStrContains(r.stdout, "there is no node n3; there are n1, n2")
  lu.assertEquals(r.code, 64)
  fs.remove_tree(folder)
end

test.run("repl", T)
