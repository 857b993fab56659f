-- The command line as a user meets it: exit codes, one-line errors, signals, where scripts are found.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu
local pgafrun = process.getenv "PGAFRUN_TEST_BINARY"

local T = {}

local function run(...) return process.run { pgafrun, ... } end

local function lines(text) return select(2, text:gsub("\n", "")) end

local function with_script(text, f)
  local folder = fs.mkdtemp "pgafrun-cli"
  fs.write(folder .. "/script.lua", text)
  local ok, e = pcall(f, folder .. "/script.lua", folder)
  fs.remove_tree(folder)
  if not ok then lu.fail(tostring(e)) end
end

function T.test_usage_errors_are_one_line_and_exit_64()
  for _, arguments in ipairs { {}, { "--nonsense" }, { "-x" }, { "-i" }, { "--log-format", "xml", "-e", "" },
    { "--deadline", "soon", "-e", "" }, { "no/such/script.lua" } } do
    local r = run(table.unpack(arguments))
    lu.assertEquals(r.code, 64, table.concat(arguments, " "))
    lu.assertEquals(lines(r.stderr), 1, r.stderr)
    lu.assertEquals(r.stdout, "")
  end
end

-- Runs a script of the shell in which $P is pgafrun.
local function shell(script)
  return process.run { "sh", "-c", script, extend_env = { P = pgafrun } }
end

function T.test_closed_standard_streams_are_no_trouble()
  for _, streams in ipairs { "<&-", ">&-", "2>&-", "<&- >&- 2>&-" } do
    local r = shell("$P -e 'require(\"pgafrun.process\").run { \"true\" } print \"x\"' " .. streams)
    lu.assertEquals(r.code, 0, streams .. r.stderr)
  end
end

function T.test_output_that_is_lost_is_no_success()
  local full = "full=/dev/full; [ -c $full ] || { full=$(mktemp -u); mknod $full c 1 7; }; "
  local r = shell(full .. "$P -e 'print(1)' >$full")
  lu.assertEquals({ r.code, r.stderr }, { 1, "pgafrun: what was printed could not be written (is the disk full?)\n" })
  lu.assertEquals(shell(full .. "$P -e 'print(1) return 3' >$full").code, 3)
  lu.assertEquals(shell("{ $P -e 'print(1)'; echo $? >&2; } | true").stderr, "0\n", "who reads no more wants no more")
end

function T.test_help_and_version()
  local help = run "--help"
  lu.assertEquals(help.code, 0)
  lu.assertStrContains(help.stdout, "--inventory")
  local version = run "--version"
  lu.assertEquals(version.code, 0)
  for _, library in ipairs { "pgafrun ", "Lua 5.4", "libuv ", "libcurl ", "libpq ", "jansson ", "OpenSSL" } do
    lu.assertStrContains(version.stdout, library)
  end
end

function T.test_the_returned_integer_is_the_exit_code()
  lu.assertEquals(run("-e", "return 3").code, 3)
  lu.assertEquals(run("-e", "return").code, 0)
  lu.assertEquals(run("-e", "return true").code, 0)
  lu.assertEquals(run("-e", "os.exit(7)").code, 7)
  lu.assertEquals(run("-e", "os.exit(false)").code, 1)
end

function T.test_os_exit_puts_things_back_first()
  local r = run("-e", [[
    local task = require "pgafrun.task"
    local g <close> = task.group()
    local _ <close> = setmetatable({}, { __close = function() task.shield(1, task.sleep, 0.01) print "back" end })
    os.exit(5)]])
  lu.assertEquals(r.code, 5)
  lu.assertEquals(r.stdout, "back\n")
  lu.assertEquals(r.stderr, "")
end

function T.test_an_error_is_told_without_a_traceback_unless_asked()
  local code = [[require("pgafrun.error").raise { kind = "network", operation = "demo", message = "no answer" }]]
  local r = run("-e", code)
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stderr, "demo: no answer [network]")
  lu.assertNotStrContains(r.stderr, "traceback")
  lu.assertStrContains(run("-vv", "-e", code).stderr, "traceback")
end

function T.test_a_misspelt_name_is_an_error_with_its_place()
  local r = run("-e", "local x = 1\nprnt(x)")
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stderr, "(command line):2: undefined global 'prnt'")
  lu.assertStrContains(run("-e", "x = 1").stderr, "assignment to global 'x'")
  lu.assertStrContains(run("-e", "x = = 1").stderr, "(command line):1:")
end

function T.test_what_blocks_the_loop_is_refused()
  lu.assertStrContains(run("-e", "os.execute 'true'").stderr, "block every other task")
  lu.assertStrContains(run("-e", "io.popen 'true'").stderr, "block every other task")
end

function T.test_a_script_gets_its_own_arguments_even_if_they_look_like_options()
  with_script("print(...)", function(script)
    lu.assertEquals(run(script, "-v", "--help", "x").stdout, "-v\t--help\tx\n")
  end)
end

function T.test_the_inventory_and_verbosity_reach_the_script()
  local r = run("-q", "--inventory", "some.lua", "--log-format=json", "-e", [[
    local p = require "pgafrun.program"
    print(p.inventory, p.verbosity, p.log_format, p.script, #p.roots > 0)]])
  lu.assertEquals(r.stdout, "some.lua\t-1\tjson\tnil\ttrue\n")
end

function T.test_the_log_is_text_or_json_on_standard_error()
  local code = [[require("pgafrun.log").warn("a \"b\"", { node = "pg-1" })]]
  lu.assertEquals(run("-e", code).stderr, 'warning: a "b" node=pg-1\n')
  local r = run("--log-format", "json", "-e", code)
  local line = require("pgafrun.json").decode(r.stderr)
  lu.assertEquals({ line.level, line.message, line.node }, { "warn", 'a "b"', "pg-1" })
  lu.assertEquals(run("-qq", "-e", code).stderr, "")
end

local CLEANS_UP = [[
local mark = ...
local task = require "pgafrun.task"
local g <close> = task.group()
g:spawn(function()
  local _ <close> = setmetatable({}, { __close = function() task.shield(5, task.sleep, 0.2) print "put back" end })
  io.open(mark, "w"):close()
  task.sleep(60)
end)
]]

-- Signals the running script as soon as it has made its mark.
local function signalled(signals, code)
  local result
  with_script(code, function(script, folder)
    local mark = folder .. "/mark"
    local g <close> = task.group { deadline = 20 }
    local running = g:spawn(process.run, { pgafrun, script, mark, extend_env = { PGAFRUN_MARK = mark } })
    while not fs.stat(mark) do task.sleep(0.01) end
    for _, signal in ipairs(signals) do
      local pid
      while not pid do -- its mark may be there before its name is seen
        local found = process.run { "pgrep", "-f", "-x", pgafrun .. " " .. script .. " " .. mark }
        pid = tonumber(found.stdout:match "%d+")
      end
      process.kill(pid, signal)
      task.sleep(0.05)
    end
    result = running:wait()
  end)
  return result
end

function T.test_sigint_and_sigterm_cancel_and_put_back()
  local r = signalled({ "INT" }, CLEANS_UP)
  lu.assertEquals({ r.code, r.stdout }, { 130, "put back\n" })
  r = signalled({ "TERM" }, CLEANS_UP)
  lu.assertEquals({ r.code, r.stdout }, { 143, "put back\n" })
end

function T.test_a_second_signal_ends_at_once()
  local r = signalled({ "INT", "INT" }, (CLEANS_UP:gsub("0%.2", "4.5")))
  lu.assertEquals({ r.code, r.stdout }, { 130, "" })
end

function T.test_a_spinning_script_still_hears_sigint()
  local r = signalled({ "INT" }, 'io.open(..., "w"):close() while true do end')
  lu.assertEquals(r.code, 130)
end

function T.test_the_deadline_of_the_run_holds()
  local r = run("--deadline", "0.05", "-e", "require('pgafrun.task').sleep(60)")
  lu.assertEquals(r.code, 1)
  lu.assertStrContains(r.stderr, "the deadline passed")
end

function T.test_scripts_and_library_are_found_in_pgafrun_path()
  local folder = fs.mkdtemp "pgafrun-path"
  fs.mkdir(folder .. "/stdlib/pgaf")
  fs.mkdir(folder .. "/scripts")
  fs.write(folder .. "/stdlib/pgaf/greeting.lua", "return 'hello'")
  fs.write(folder .. "/scripts/greet.lua", "print((require 'pgaf.greeting'))")
  local r = process.run { pgafrun, "greet", extend_env = { PGAFRUN_PATH = folder } }
  fs.remove_tree(folder)
  lu.assertEquals({ r.code, r.stdout }, { 0, "hello\n" })
end

function T.test_a_name_is_a_command_and_the_help_lists_them()
  local folder = fs.mkdtemp "pgafrun-path"
  local environment = { PGAFRUN_PATH = folder }
  fs.mkdir(folder .. "/stdlib/pgaf")
  fs.mkdir(folder .. "/scripts/shed")
  fs.mkdir(folder .. "/elsewhere")
  local plants = "-- Waters the plants, which\n-- are thirsty. More of it.\n\nprint('water', ...)"
  fs.write(folder .. "/scripts/water.lua", plants)
  fs.write(folder .. "/scripts/water_all.lua", "#!/usr/bin/pgafrun\n-- Waters everything.\nprint 'all'")
  fs.write(folder .. "/scripts/bare.lua", "print 'bare'")
  fs.write(folder .. "/scripts/bare-root.lua", "print 'a name with a dash of its own'")
  fs.write(folder .. "/elsewhere/water", "print 'a file of that name'")
  local function command(...)
    return process.run { pgafrun, extend_env = environment, cwd = folder .. "/elsewhere", ... }
  end
  local help, water = command "--help", command("water_all", "x")
  local file, named = command("water", "x"), command("bare", "-v")
  local dashed, own_dash = command "water-all", command "bare-root"
  local misspelt, part, unknown, other = command "watr_all", command "all", command "xyzzy", command "shed"
  fs.remove_tree(folder)
  lu.assertStrContains(help.stdout, "  water              Waters the plants, which are thirsty\n")
  lu.assertStrContains(help.stdout, "  water_all          Waters everything\n")
  lu.assertStrContains(help.stdout, "  bare               \n")
  lu.assertNotStrContains(help.stdout, "More of it")
  lu.assertEquals(water.stdout, "all\n")
  lu.assertEquals(named.stdout, "bare\n")
  lu.assertEquals(dashed.stdout, "all\n")
  lu.assertEquals(own_dash.stdout, "a name with a dash of its own\n")
  lu.assertEquals(file.stdout, "a file of that name\n")
  for _, r in ipairs { misspelt, part, unknown, other } do
    lu.assertEquals({ r.code, r.stdout, lines(r.stderr) }, { 64, "", 1 }, r.stderr)
    lu.assertStrContains(r.stderr, " bare, ")
  end
  lu.assertStrContains(misspelt.stderr, "no such script or command: watr_all; did you mean water_all? There are: ")
  lu.assertStrContains(part.stderr, "did you mean water_all?")
  lu.assertNotStrContains(unknown.stderr, "did you mean")
end

function T.test_the_scripts_that_come_with_it_say_what_they_do()
  local help = run("--help").stdout
  for _, name in ipairs { "postgres_ha", "failover_drill", "restore", "state", "destroy" } do
    lu.assertStrMatches(help, ".*\n  " .. name .. " +%u[^\n]+\n.*")
  end
end

test.run("cli", T)
