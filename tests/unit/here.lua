-- This machine as a target of plays.
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local here = require "pgaf.here"
local process = require "pgafrun.process"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local test = require "pgaf.test"
local lu = test.lu

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

test.run("here", T)
