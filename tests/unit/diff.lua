-- The differences of texts: right for any two texts, short where little differs, quick where much does, and silent
-- about secrets.
local diff = require "pgaf.play.diff"
local fs = require "pgafrun.fs"
local mask = require "pgafrun.mask"
local process = require "pgafrun.process"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local function numbered(first, last, word)
  local lines = {}
  for i = first, last do lines[#lines + 1] = ("%s %d\n"):format(word or "line", i) end
  return lines
end

-- A random text of few different lines, so that many are equal; the last one may lack its line break.
local function random_text(size, kinds)
  local lines = {}
  for i = 1, math.random(0, size) do lines[i] = "line " .. math.random(kinds) end
  return table.concat(lines, "\n") .. (math.random(3) > 1 and #lines > 0 and "\n" or "")
end

-- What patch makes of `before` with our hunks.
local function patched(folder, before, after)
  fs.write(folder .. "/text", before)
  local lines = diff.hunks(before, after)
  if #lines == 0 then return before end
  local patch = "--- text\n+++ text\n" .. table.concat(lines, "\n") .. "\n"
  local result = process.run { "patch", "-s", "-u", "--no-backup-if-mismatch", "-F0", folder .. "/text", stdin = patch }
  lu.assertEquals(result.code, 0, result.stdout .. result.stderr .. patch)
  return fs.stat(folder .. "/text") and fs.read(folder .. "/text") or ""
end

function T.test_patch_makes_one_text_of_the_other()
  local folder = fs.mkdtemp "pgafrun-diff"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  math.randomseed(7)
  for _ = 1, 150 do
    local before, after = random_text(30, 12), random_text(30, 12)
    lu.assertEquals(patched(folder, before, after), after)
  end
  -- so different that the greedy algorithm gives up, with and without lines that occur once
  for _ = 1, 6 do
    local before, after = random_text(900, 60), random_text(900, 60)
    lu.assertEquals(patched(folder, before, after), after)
    local anchored = {}
    for i = 1, 600 do anchored[i] = (i % 3 == 0 and "kept " .. i or "new " .. math.random(5)) .. "\n" end
    local other = {}
    for i = 1, 600 do other[i] = (i % 3 == 0 and "kept " .. i or "old " .. math.random(5)) .. "\n" end
    lu.assertEquals(patched(folder, table.concat(anchored), table.concat(other)), table.concat(other))
  end
end

function T.test_one_changed_line_shows_with_three_lines_around_it()
  local lines = numbered(1, 20)
  local before = table.concat(lines)
  lines[10] = "changed\n"
  lu.assertEquals(diff.hunks(before, table.concat(lines)), {
    "@@ -7,7 +7,7 @@", " line 7", " line 8", " line 9", "-line 10", "+changed", " line 11", " line 12", " line 13",
  })
end

function T.test_changes_far_apart_are_hunks_of_their_own()
  local lines = numbered(1, 30)
  local before = table.concat(lines)
  lines[2], lines[10] = "two\n", "ten\n"
  lines[29] = ""
  local hunks = diff.hunks(before, table.concat(lines))
  local heads = {}
  for _, line in ipairs(hunks) do heads[#heads + 1] = line:match "^@@.*" end
  lu.assertEquals(heads, { "@@ -1,5 +1,5 @@", "@@ -7,7 +7,7 @@", "@@ -26,5 +26,4 @@" })
end

function T.test_hunks_that_touch_are_one()
  local lines = numbered(1, 30)
  local before = table.concat(lines)
  lines[10], lines[17] = "ten\n", "seventeen\n"
  lu.assertEquals(diff.hunks(before, table.concat(lines))[1], "@@ -7,14 +7,14 @@")
end

function T.test_equal_texts_have_no_hunks()
  lu.assertEquals(diff.hunks("a\nb\n", "a\nb\n"), {})
  lu.assertEquals(diff.hunks("", ""), {})
end

function T.test_a_missing_last_line_break_is_told()
  lu.assertEquals(diff.hunks("a\n", "a"), { "@@ -1 +1 @@", "-a", "+a", "\\ No newline at end of file" })
end

-- The work of a call, in thousands of the virtual machine's instructions.
local function work_of(f, ...)
  local count = 0
  local thread = coroutine.create(f)
  debug.sethook(thread, function() count = count + 1 end, "", 1000)
  local ok, result = coroutine.resume(thread, ...)
  lu.assertTrue(ok)
  return count, result
end

function T.test_texts_of_which_nothing_is_equal_cost_no_square()
  local work = {}
  for n, size in ipairs { 2000, 8000 } do
    local before, after = table.concat(numbered(1, size, "old")), table.concat(numbered(1, size, "new"))
    local lines
    work[n], lines = work_of(diff.hunks, before, after)
    lu.assertEquals(#lines, 2 * size + 1)
  end
  -- four times the size: sixteen times the work, if it were a square
  lu.assertTrue(work[1] > 0 and work[2] < 5 * work[1], ("%d and %d"):format(work[1], work[2]))
end

function T.test_much_that_moved_is_still_found()
  local before, after = numbered(1, 5000), {}
  for i, line in ipairs(before) do
    after[#after + 1] = i % 5 == 0 and "other " .. i .. "\n" or line
  end
  local kept = 0
  for _, line in ipairs(diff.hunks(table.concat(before), table.concat(after))) do
    if line:sub(1, 1) == " " then kept = kept + 1 end
  end
  -- all but the first line, which is too far from a difference
  lu.assertEquals(kept, 3999)
end

-- ---------------------------------------------------------------------------------------------------- for people

function T.test_a_setting_is_told_before_and_after()
  lu.assertEquals(diff.describe { what = "shared_buffers", before = "128MB", after = "256MB" },
    { "shared_buffers: 128MB -> 256MB" })
  lu.assertEquals(diff.describe { what = "work_mem", after = "4MB" }, { "work_mem: (not set) -> 4MB" })
end

function T.test_a_file_is_told_as_a_unified_diff()
  lu.assertEquals(diff.describe { what = "/etc/x", before = "a\nb\n", after = "a\nc\n" },
    { "--- /etc/x", "+++ /etc/x", "@@ -1,2 +1,2 @@", " a", "-b", "+c" })
  lu.assertEquals(diff.describe { what = "/etc/x", after = "a\nb\n" },
    { "--- (not there)", "+++ /etc/x", "@@ -0,0 +1,2 @@", "+a", "+b" })
end

function T.test_secret_values_are_never_shown()
  for _, change in ipairs {
    { before = "was-secret", after = "is-secret" }, { after = "is-secret" }, { before = "was-secret" },
    { before = "one\nwas-secret\n", after = "one\nis-secret\n" },
  } do
    change.what, change.secret = "password of app", true
    local lines = diff.describe(change)
    lu.assertEquals(#lines, 1)
    lu.assertStrContains(lines[1], "password of app")
    lu.assertNotStrContains(lines[1], "was-secret")
    lu.assertNotStrContains(lines[1], "is-secret")
  end
end

function T.test_secrets_within_texts_are_masked_also_over_several_lines()
  mask.add "first-line-of-key\nsecond-line-of-key"
  mask.add "another-password"
  local lines = diff.describe {
    what = "/etc/x", before = "a\n", after = "a\nfirst-line-of-key\nsecond-line-of-key\nkey another-password\n",
  }
  local shown = table.concat(lines, "\n")
  lu.assertNotStrContains(shown, "line-of-key")
  lu.assertNotStrContains(shown, "another-password")
  lu.assertStrContains(shown, "+key <secret>")
  mask.add "older-password"
  lu.assertEquals(diff.describe { what = "/etc/y", before = "p older-password\n", after = "p another-password\n" },
    { "/etc/y: differs in a <secret>" })
end

function T.test_binary_and_too_large_are_told_and_not_shown()
  lu.assertEquals(diff.describe { what = "/bin/x", before = "\0\1", after = "\0\2\3" },
    { "/bin/x: binary: 2 bytes -> 3 bytes" })
  lu.assertEquals(diff.describe { what = "/bin/x", before = "\0\1", after = "\0\2" },
    { "/bin/x: binary: 2 bytes -> 2 bytes, others" })
  lu.assertEquals(diff.describe { what = "/bin/x", after = "\xff\xfe" }, { "/bin/x: binary: nothing -> 2 bytes" })
  lu.assertEquals(diff.describe { what = "/x", before = ("a\n"):rep(400000), after = ("b\n"):rep(400000) },
    { "/x: too large to compare: 800.0 kB -> 800.0 kB, others" })
end

function T.test_long_diffs_are_cut_and_say_so()
  local lines = diff.describe { what = "/x", before = "", after = table.concat(numbered(1, 1000)) }
  lu.assertEquals(#lines, 401)
  lu.assertEquals(lines[401], "... and 603 lines more")
end

function T.test_control_characters_do_not_reach_the_terminal()
  local shown = table.concat(diff.describe { what = "/x", before = "a\n", after = "\27[2Jb\r\n" }, "\n")
  lu.assertStrContains(shown, "+\\e[2Jb\\r")
  lu.assertNil(shown:find "[\27\r]")
end

test.run("diff", T)
