-- This machine as a target of plays.
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local here = require "pgaf.here"
local play = require "pgaf.play"
local process = require "pgafrun.process"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local here_folder = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local plays = dofile(here_folder .. "/support/plays.lua")

local T = {}
local folder
local target = here.target "here"
local node = target.node

function T.setUp() folder = fs.mkdtemp "pgafrun-here-" end
function T.tearDown() fs.remove_tree(folder) end

function T.test_commands()
  local result = node:run("cat; echo $A >&2; exit 3", { stdin = "in", env = { A = "b" }, check = false })
  lu.assertEquals({ result.code, result.stdout, result.stderr }, { 3, "in", "b\n" })
  lu.assertEquals(node:exec({ "pwd", cwd = folder }).stdout, folder .. "\n")
  local ok, raised = pcall(node.run, node, "echo why >&2; exit 4")
  lu.assertFalse(ok)
  lu.assertTrue(error.is(raised, "command", "4"))
  lu.assertStrContains(raised.message, "why")
end

function T.test_another_user_is_for_root_alone()
  local ok, result = pcall(node.run, node, "id -un", { user = "nobody" })
  if process.self().uid == 0 then
    lu.assertEquals(ok and result.stdout, "nobody\n")
  else
    lu.assertTrue(error.is(result, "config", "user"))
  end
end

function T.test_a_script_is_in_no_argument_list()
  local script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; : a-word-of-the-script-itself"
  lu.assertNil(node:run(script).stdout:find("a-word-of-the-script-itself", 1, true))
end

function T.test_files()
  local path = folder .. "/it's here"
  lu.assertTrue(node:push(path, "a\0b", { mode = "0640" }))
  lu.assertFalse(node:push(path, "a\0b", { mode = "0640" }))
  lu.assertTrue(node:push(path, "a\0b", { mode = "0600" }))
  lu.assertEquals(node:pull(path), "a\0b")
  lu.assertNil(node:pull(folder .. "/none"))
  lu.assertEquals(node:files({ path, folder })[folder], false)
  lu.assertEquals(fs.stat(path).mode, tonumber("600", 8))
end

local function difference(made)
  target.facts:forget()
  local snapshot = target.facts:fetch(made.reads)
  return made:probe(target, snapshot), snapshot
end

function T.test_resources_of_this_machine_belong_to_who_runs_it()
  for _, made in ipairs {
    resource.directory { path = folder .. "/a/b" },
    resource.file { path = folder .. "/a/b/c", content = secret.value "a-secret-of-this-test" },
    resource.line { path = folder .. "/a/b/d", line = "x", create = true },
    resource.block { path = folder .. "/a/b/d", lines = { "y" } },
    resource.template { path = folder .. "/a/b/e", text = "<%= target.name %>\n" },
    resource.link { path = folder .. "/f", target = "a/b/e" },
    resource.command { script = "cat e >g", cwd = folder .. "/a/b", creates = folder .. "/a/b/g" },
  } do
    local differs, snapshot = difference(made)
    lu.assertIsString(differs, made.kind)
    lu.assertTrue(#made:changes(target, snapshot) > 0, made.kind)
    lu.assertIsString(made:apply(target, differs, snapshot))
    lu.assertNil((difference(made)))
  end
  lu.assertEquals(fs.read(folder .. "/a/b/g"), "here\n")
  lu.assertEquals(fs.read(folder .. "/a/b/d"), "x\n# begin pgafrun\ny\n# end pgafrun\n")
end

-- Two targets that are the same machine: what a step changes on the one, the next finds changed on the other.
function T.test_what_was_changed_from_elsewhere_is_looked_at_anew()
  local a, b = here.target "a", here.target "b"
  local path = folder .. "/made later"
  local p = play.new { title = "test", targets = { a, b } }
  p:step { "before", on = "b", resource = resource.file { path = path, state = "absent" } }
  p:step { "make", on = "a", needs = { play.everywhere "before" }, run = function() fs.write(path, "x") end }
  p:step { "remove", on = "b", needs = { play.everywhere "make" }, resource = resource.file { path = path,
    state = "absent" } }
  local result = plays.run(p)
  lu.assertEquals({ result.counts.ok, result.counts.changed }, { 1, 2 })
  lu.assertNil(fs.stat(path))
end

function T.test_each_try_looks_anew()
  local path = folder .. "/late"
  local p = play.new { title = "test", targets = { here.target "a" } }
  p:step { "line", retries = 100, delay = 0.02, resource = resource.line { path = path, line = "x" } }
  do
    local group <close> = task.group()
    group:spawn(function()
      task.sleep(0.1)
      fs.write(path, "a\n")
    end)
    lu.assertFalse(plays.run(p).failed)
  end
  lu.assertEquals(fs.read(path), "a\nx\n")
end

function T.test_what_failed_halfway_may_have_changed_something()
  local p = play.new { title = "test", targets = { here.target "a" } }
  p:step { "broken", run = function() error.raise { kind = "command", message = "it broke" } end }
  lu.assertStrContains(select(2, plays.run(p)), "1 failed, 0 left out, nothing else changed in ")
end

test.run("here", T)
