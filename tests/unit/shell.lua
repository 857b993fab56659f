-- The framing of pgaf.shell, over a transport that tears its streams apart in every possible way.

local error = require "pgafrun.error"
local test = require "pgaf.test"

local shell = require "pgaf.shell"
local lu = test.lu

local T = {}

-- Answers each frame with what `reply` makes of it, in pieces of `size` bytes.
local function transport(size, reply)
  local t = { sent = {}, queue = { stdout = {}, stderr = {} }, killed = 0, closed = 0 }
  local function add(stream, text)
    for i = 1, #text, size do table.insert(t.queue[stream], text:sub(i, i + size - 1)) end
  end
  function t:send(text)
    table.insert(self.sent, text)
    local mark = text:match "printf '(%x+) "
    if not mark then return end
    if text:find("$$;", 1, true) then
      add("stdout", mark .. " 4711\n")
      add("stderr", mark .. "\n")
    else
      local out, err = reply(mark, text)
      add("stdout", out)
      add("stderr", err)
    end
  end
  function t:recv(stream, seconds)
    local data = table.remove(self.queue[stream], 1)
    if data then return data end
    if seconds then error.raise { kind = "timeout", message = "nothing there", operation = "recv" } end
    return nil, "eof"
  end
  function t:kill(pid) self.killed, self.pid = self.killed + 1, pid end
  function t:close() self.closed = self.closed + 1 end
  return t
end

local function open(t, prelude)
  return shell.new { name = "test", open = function() return t end, prelude = prelude }
end

function T.test_marks_are_found_wherever_the_streams_are_torn()
  local out = "line\n" .. ("0123456789abcdef"):rep(5) .. "\0 no line end"
  for size = 1, 70 do
    local t = transport(size, function(mark) return out .. mark .. " 7\n", "err" .. mark .. "\n" end)
    lu.assertEquals(open(t):run "x", { code = 7, stdout = out, stderr = "err" }, size)
  end
end

function T.test_half_a_mark_is_output()
  for size = 1, 40 do
    local t = transport(size, function(mark)
      return mark:sub(1, 16) .. mark .. " 0\n", mark:sub(2) .. mark .. "\n"
    end)
    local r = open(t):run "x"
    lu.assertEquals({ #r.stdout, #r.stderr }, { 16, 31 }, size)
  end
end

function T.test_each_script_has_a_mark_of_its_own()
  local marks = {}
  local t = transport(1000, function(mark)
    marks[#marks + 1] = mark
    return mark .. " 0\n", mark .. "\n"
  end)
  local s = open(t)
  s:run "a"
  s:run "b"
  lu.assertEquals({ #marks, #marks[1] }, { 2, 32 })
  lu.assertNotEquals(marks[1], marks[2])
end

function T.test_input_is_sent_only_when_the_shell_is_ready_for_it()
  local t
  t = transport(7, function(mark)
    lu.assertEquals(#t.sent, 2) -- the greeting, and the script
    return mark .. " ready\n" .. "out" .. mark .. " 0\n", mark .. "\n"
  end)
  lu.assertEquals(open(t):run("cat", { stdin = "secret" }).stdout, "out")
  lu.assertEquals(t.sent[3], "secret")
  lu.assertStrContains(t.sent[2], "head -c 6 ")
  lu.assertNil(t.sent[2]:find("secret", 1, true))
end

function T.test_the_end_of_a_stream_is_told_with_what_came_before()
  local t = transport(5, function() return "before", "" end)
  local ok, e = pcall(open(t).run, open(t), "x")
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "closed", "eof"), tostring(e))
  lu.assertEquals({ e.stdout, e.outcome, t.killed, t.pid }, { "before", "unknown", 1, 4711 })
end

function T.test_quoting()
  lu.assertEquals(shell.quote "it's", "'it'\\''s'")
  lu.assertEquals(shell.quote "", "''")
  lu.assertEquals(shell.quote "$(x) `y` \\ \n", "'$(x) `y` \\ \n'")
end

test.run("shell", T)
