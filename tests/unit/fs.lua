local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local T = {}
local directory

local function octal(text) return tonumber(text, 8) end
local function at(name) return directory .. "/" .. name end

local function fails(code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "file", code), tostring(e))
  return e
end

function T.setUp() directory = fs.mkdtemp "fs-test-" end
function T.tearDown() fs.remove_tree(directory) end

function T.test_write_and_read()
  fs.write(at "a", "one\0two")
  lu.assertEquals(fs.read(at "a"), "one\0two")
  lu.assertEquals(fs.stat(at "a").mode, octal "600")
  fs.write(at "a", "", { mode = octal "644", sync = false })
  lu.assertEquals(fs.read(at "a"), "")
  lu.assertEquals(fs.stat(at "a").mode, octal "644")
  lu.assertEquals(fs.list(directory), { "a" })
  local big = ("x"):rep(3 << 20)
  fs.write(at "big", big)
  lu.assertTrue(fs.read(at "big") == big)
end

function T.test_reading_is_limited()
  fs.write(at "a", "12345")
  lu.assertEquals(fs.read(at "a", { max_bytes = 5 }), "12345")
  local _, e = pcall(fs.read, at "a", { max_bytes = 4 })
  lu.assertTrue(error.is(e, "limit", "max_bytes"))
end

function T.test_errors_name_the_path()
  local e = fails("ENOENT", fs.read, at "no")
  lu.assertStrContains(e.message, at "no")
  lu.assertEquals(e.operation, "fs.read")
  fails("ENOENT", fs.write, at "no/a", "")
  fails("ENOENT", fs.append, at "no/a", "")
  fails("ENOENT", fs.list, at "no")
  fails("ENOENT", fs.chmod, at "no", 0)
  fails("ENOENT", fs.realpath, at "no")
  fails("ENOENT", fs.lock, at "no/lock", "")
  lu.assertStrContains(fails("ENOENT", fs.rename, at "no", at "new").message, at "new")
end

function T.test_append()
  fs.append(at "log", "one\n")
  fs.append(at "log", "two\n", { sync = false })
  lu.assertEquals(fs.read(at "log"), "one\ntwo\n")
  lu.assertEquals(fs.stat(at "log").mode, octal "600")
end

function T.test_stat()
  fs.write(at "file", "abc")
  process.run { "ln", "-s", "file", at "link" }
  process.run { "mkfifo", at "fifo" }
  local s = fs.stat(at "file")
  lu.assertEquals(s.type, "file")
  lu.assertEquals(s.size, 3)
  lu.assertEquals(s.uid, process.self().uid)
  lu.assertAlmostEquals(s.mtime, os.time(), 3600)
  lu.assertEquals(fs.stat(at "link").type, "link")
  lu.assertEquals(fs.stat(at "fifo").type, "fifo")
  lu.assertEquals(fs.stat(directory).type, "directory")
  lu.assertEquals(fs.stat("/dev/null").type, "other")
  lu.assertNil(fs.stat(at "none"))
  lu.assertNil(fs.stat(at "file/below"))
  lu.assertEquals(fs.realpath(at "link"), fs.realpath(directory) .. "/file")
end

function T.test_directories()
  fs.mkdir(at "a/b/c")
  fs.mkdir(at "a/b/c")
  lu.assertEquals(fs.stat(at "a/b").mode, octal "700")
  fs.mkdir(at "shared", octal "755")
  lu.assertEquals(fs.stat(at "shared").mode, octal "755")
  fs.write(at "a/z", "")
  lu.assertEquals(fs.list(at "a"), { "b", "z" })
  lu.assertEquals(fs.list(at "shared"), {})
  fails("ENOTEMPTY", fs.remove, at "a")
  fs.remove(at "a/z")
  fs.remove(at "a/z")
  fs.remove(at "shared")
  fs.remove_tree(at "a")
  fs.remove_tree(at "a")
  lu.assertEquals(fs.list(directory), {})
  lu.assertErrorMsgContains("root directory", fs.remove_tree, "/")
  lu.assertErrorMsgContains("root directory", fs.remove_tree, "//")
  lu.assertErrorMsgContains("empty", fs.remove_tree, "")
end

function T.test_mkdtemp()
  lu.assertEquals(fs.stat(directory).mode, octal "700")
  lu.assertStrContains(directory, (process.getenv "TMPDIR" or "/tmp") .. "/fs-test-")
  lu.assertErrorMsgContains("no slash", fs.mkdtemp, "a/b")
end

function T.test_a_lock_is_held_by_one()
  do
    local lock <close> = fs.lock(at "lock", "first")
    lu.assertNotNil(lock)
    lu.assertEquals({ fs.lock(at "lock", "second") }, { nil, "first" })
    local code = ("print(require 'pgafrun.fs'.lock(%q, 'third'))"):format(at "lock")
    local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "-e", code }
    lu.assertEquals(r.stdout, "nil\tfirst\n", r.stderr)
  end
  local lock = fs.lock(at "lock", "fourth")
  lu.assertNotNil(lock)
  lock:close()
  lock:close()
  lu.assertNotNil((fs.lock(at "lock", "fifth")))
  collectgarbage()
  lu.assertNotNil((fs.lock(at "lock", "sixth")))
end

function T.test_a_lock_is_not_inherited_by_children()
  local lock = fs.lock(at "lock", "")
  local child = process.daemon { "sleep", "300", output = "/dev/null" }
  lock:close()
  lu.assertNotNil((fs.lock(at "lock", "")))
  process.kill(child.pid, "KILL")
  child:wait()
end

function T.test_a_pipe_can_be_read_and_waiting_for_it_cancelled()
  process.run { "mkfifo", at "fifo" }
  local holder = process.daemon { "sh", "-c", ('exec 9<>"%s"; sleep 300'):format(at "fifo"), output = "/dev/null" }
  local ok, e = pcall(task.timeout, 0.05, function()
    while true do fs.read(at "fifo") end
  end)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "timeout"), tostring(e))
  process.kill(-holder.pid, "KILL")
end

function T.test_wrong_arguments_are_mistakes_of_the_script()
  lu.assertErrorMsgContains("zero byte", fs.read, "a\0b")
  lu.assertErrorMsgContains("string expected", fs.read, 5)
  lu.assertErrorMsgContains("no option 'max'; there are: max_bytes", fs.read, "a", { max = 1 })
  lu.assertErrorMsgContains("'mode' must be an integer", fs.write, "a", "", { mode = "600" })
  lu.assertErrorMsgContains("'sync' must be true or false", fs.write, "a", "", { sync = 1 })
  lu.assertErrorMsgContains("not a file mode", fs.chmod, "a", 8 ^ 5 // 1 | 0)
end

function T.test_a_file_in_memory_has_a_path_until_it_is_closed()
  local data = ("a\0b"):rep(100000)
  local path
  do
    local file <close> = fs.in_memory(data)
    path = file:path()
    lu.assertEquals(fs.read(path), data)
    lu.assertEquals(fs.read(path), data, "each reader begins at its beginning")
    lu.assertEquals(process.run({ "ls", path }).code, 2, "a child does not inherit it")
    file:close()
    lu.assertErrorMsgContains("the file was closed", file.path, file)
  end
  lu.assertNil(fs.stat(path))
  local empty <close> = fs.in_memory ""
  lu.assertEquals(fs.read(empty:path()), "")
end

test.run("fs", T)
