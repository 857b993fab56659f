-- Facts, asked of this machine: the script and its answers are the real ones.
local crypto = require "pgafrun.crypto"
local facts = require "pgaf.facts"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local lu = test.lu

local T = {}
local folder

-- A node that is this machine, and counts how often it was asked.
local function node()
  local self = { asked = 0 }
  function self.paths() return { run = folder } end
  function self.run(_, script, options)
    self.asked = self.asked + 1
    local result = process.run { "sh", "-c", script, extend_env = options.env }
    lu.assertEquals(result.code, 0, result.stderr)
    return result
  end
  return self
end

function T.setUp() folder = fs.mkdtemp "pgafrun-facts-" end
function T.tearDown() fs.remove_tree(folder) end

function T.test_files_and_contents()
  local text = "one\n\n  two\\n = ~ $(x) 'quoted'\nwithout a line break"
  fs.write(folder .. "/with blank", text, { mode = tonumber("640", 8) })
  fs.write(folder .. "/plain", "a\n")
  fs.write(folder .. "/empty", "")
  local one = node()
  local snapshot = facts.new(one, 5432):fetch {
    { "file", folder .. "/with blank" }, { "content", folder .. "/with blank" }, { "content", folder .. "/plain" },
    { "content", folder .. "/empty" }, { "file", folder .. "/none" }, { "content", folder .. "/none" },
    { "file", folder },
  }
  local file = snapshot.file[folder .. "/with blank"]
  lu.assertEquals(file.sha256, crypto.sha256(text))
  lu.assertEquals({ file.type, file.mode }, { "file", "0640" })
  lu.assertEquals(snapshot.content[folder .. "/with blank"], text)
  lu.assertEquals(snapshot.content[folder .. "/plain"], "a\n")
  lu.assertEquals(snapshot.content[folder .. "/empty"], "")
  lu.assertEquals(snapshot.file[folder .. "/none"], false)
  lu.assertEquals(snapshot.content[folder .. "/none"], false)
  lu.assertEquals(snapshot.file[folder].type, "directory")
  lu.assertEquals(one.asked, 1)
end

function T.test_links_and_names_with_backslashes()
  local file, link, lost, odd = folder .. "/file", folder .. "/link", folder .. "/lost", folder .. "/back\\bs\\nl"
  fs.write(file, "a\n", { mode = tonumber("640", 8) })
  fs.write(odd, "b\n")
  process.run { "ln", "-s", "file", link }
  process.run { "ln", "-s", "none", lost }
  local snapshot = facts.new(node(), 5432):fetch {
    { "file", file }, { "stat", file }, { "stat", link }, { "stat", lost }, { "file", odd }, { "content", odd },
    { "stat", folder .. "/none" },
  }
  local stat = snapshot.stat
  lu.assertEquals(snapshot.file[file].sha256, crypto.sha256 "a\n")
  lu.assertEquals({ stat[file].type, stat[file].size, stat[file].sha256 }, { "file", 2 })
  lu.assertEquals({ stat[link].type, stat[link].to.type, stat[link].to.mode }, { "link", "file", "0640" })
  lu.assertEquals({ stat[lost].type, stat[lost].to }, { "link" })
  lu.assertEquals(snapshot.file[odd].sha256, crypto.sha256 "b\n")
  lu.assertEquals(snapshot.content[odd], "b\n")
  lu.assertEquals(stat[folder .. "/none"], false)
end

-- A pipe without a writer, and what takes minutes to read.
function T.test_only_files_of_a_bearable_size_are_read()
  local pipe, huge, beside = folder .. "/pipe", folder .. "/huge", folder .. "/beside"
  process.run { "mkfifo", pipe }
  process.run { "truncate", "-s", "3000G", huge }
  fs.write(beside, "x")
  local one
  task.timeout(30, function()
    one = facts.new(node(), 5432):fetch {
      { "file", pipe }, { "content", pipe }, { "file", huge }, { "stat", huge }, { "file", beside },
    }
  end)
  lu.assertEquals({ one.file[pipe].type, one.content[pipe] }, { "fifo", false })
  lu.assertEquals({ one.file[huge].type, one.file[huge].sha256, one.stat[huge].type }, { "file", nil, "file" })
  lu.assertEquals(one.file[beside].sha256, crypto.sha256 "x")
end

function T.test_an_owner_without_a_name_is_a_number()
  if process.self().uid ~= 0 then lu.skip "only root can give files away" end
  fs.write(folder .. "/x", "")
  process.run { "chown", "47110:47111", folder .. "/x" }
  local file = facts.new(node(), 5432):fetch({ { "stat", folder .. "/x" } }).stat[folder .. "/x"]
  lu.assertEquals({ file.user, file.group }, { "47110", "47111" })
end

function T.test_commands_and_packages()
  local snapshot = facts.new(node(), 5432):fetch {
    { "sh", "two lines", script = "echo a; echo b" }, { "sh", "fails", script = "echo x; exit 3" },
    { "sh", "says no", script = "test -e /none" }, { "sh", "says yes", script = "test -e /" },
    { "dpkg", "no-such-package-there" }, { "sql", "x", database = "postgres", query = "select 1" },
  }
  lu.assertEquals(snapshot.sh["two lines"], "a\nb\n")
  lu.assertEquals({ snapshot.sh.fails, snapshot.sh["says no"], snapshot.sh["says yes"] }, { false, false, "" })
  lu.assertEquals(snapshot.dpkg["no-such-package-there"], false)
  lu.assertEquals(snapshot.sql.x, false)
end

function T.test_what_is_wrong_with_a_command_is_its_own_answer()
  local snapshot = facts.new(node(), 5432):fetch {
    { "sh", "1 syntax", script = "if [" }, { "sh", "2 quote", script = "echo 'x" },
    { "sh", "3 replaced", script = "exec test -e /" }, { "sh", "4 left", script = "exit 0" },
    { "sh", "5 ends in a remark", script = "echo 'it is'; : # remark" }, { "sh", "6", script = "echo x" },
  }
  lu.assertEquals(snapshot.sh, {
    ["1 syntax"] = false, ["2 quote"] = false, ["3 replaced"] = "", ["4 left"] = "",
    ["5 ends in a remark"] = "it is\n", ["6"] = "x\n",
  })
end

function T.test_the_first_question_brings_all_that_was_announced()
  local one = node()
  local known = facts.new(one, 5432)
  known:want { { "sh", "a", script = "echo a" }, { "sh", "b", script = "echo b" } }
  lu.assertEquals(known:fetch({ { "sh", "a", script = "echo a" } }).sh.a, "a\n")
  lu.assertEquals(known:fetch({ { "sh", "b", script = "echo b" } }).sh.b, "b\n")
  lu.assertEquals(one.asked, 1)
end

function T.test_what_is_known_not_to_be_there_stays_so_beside_a_new_question()
  local known = facts.new(node(), 5432)
  local missing = { "content", folder .. "/none" }
  known:fetch { missing }
  local snapshot = known:fetch { missing, { "sh", "a", script = "echo a" } }
  lu.assertEquals(snapshot.content[folder .. "/none"], false)
  lu.assertEquals(snapshot.sh.a, "a\n")
end

function T.test_after_a_change_only_what_is_needed_is_asked_again()
  local one = node()
  local known = facts.new(one, 5432)
  local count = { "sh", "count", script = ("echo x >>%s/count; wc -l <%s/count"):format(folder, folder) }
  lu.assertEquals(known:fetch({ count }).sh.count, "1\n")
  lu.assertEquals(known:fetch({ count }).sh.count, "1\n")
  known:forget()
  lu.assertEquals(known:fetch({ count }).sh.count, "2\n")
  lu.assertEquals(one.asked, 2)
end

function T.test_two_that_ask_at_once_share_the_answer()
  local one = node()
  local known = facts.new(one, 5432)
  local slow = { "sh", "slow", script = "sleep 0.05; echo x" }
  known:want { slow }
  do
    local group <close> = task.group {}
    for _ = 1, 3 do
      group:spawn(function() lu.assertEquals(known:fetch({ slow }).sh.slow, "x\n") end)
    end
  end
  lu.assertEquals(one.asked, 1)
end

function T.test_an_answer_from_before_a_change_is_not_kept()
  local one = node()
  local known = facts.new(one, 5432)
  local path = folder .. "/value"
  fs.write(path, "old\n")
  local value = { "sh", "value", script = ("cat %s; sleep 0.1"):format(path) }
  do
    local group <close> = task.group {}
    group:spawn(function() known:fetch { value } end)
    task.sleep(0.05)
    fs.write(path, "new\n")
    known:forget()
  end
  lu.assertEquals(known:fetch({ value }).sh.value, "new\n")
end

function T.test_a_failed_question_is_raised_and_can_be_asked_again()
  local fails = true
  local known = facts.new({
    paths = function() return { run = folder } end,
    run = function()
      if fails then error("no connection", 0) end
      return { stdout = "sh 1 eCAwCg==\n" }
    end,
  }, 5432)
  local question = { "sh", "x", script = "printf x" }
  lu.assertErrorMsgEquals("no connection", known.fetch, known, { question })
  fails = false
  lu.assertEquals(known:fetch({ question }).sh.x, "x")
end

test.run("facts", T)
