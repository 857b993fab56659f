local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local process = require "pgafrun.process"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local T = {}
local directory

local function octal(text) return tonumber(text, 8) end
local function at(name) return directory .. "/" .. name end

local function refuses(code, object)
  local ok, e = pcall(secret.reveal, object)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "secret", code), tostring(e))
  return e
end

function T.setUp() directory = fs.mkdtemp "secret-test-" end
function T.tearDown() fs.remove_tree(directory) end

function T.test_shows_itself_to_nobody()
  local s = secret.value "hidden-1"
  lu.assertEquals(tostring(s), "<secret>")
  lu.assertEquals(json.encode { password = s }, '{"password":"<secret>"}')
  lu.assertEquals(("%s"):format(s), "<secret>")
  lu.assertNil(next(s))
  lu.assertEquals(getmetatable(s), "secret")
  lu.assertFalse(pcall(setmetatable, s, {}))
  lu.assertErrorMsgContains("must be a string", process.run, { "echo", s })
  lu.assertEquals(secret.reveal(s), "hidden-1")
end

function T.test_what_is_joined_to_a_secret_is_a_secret()
  local part = secret.env "PATH"
  local joined = "path=" .. part .. ":" .. 5
  lu.assertTrue(secret.is(joined))
  lu.assertEquals(tostring(joined), "<secret>")
  lu.assertEquals(secret.source(joined), "environment variable PATH")
  lu.assertEquals(secret.reveal(joined), "path=" .. process.getenv "PATH" .. ":5")
  lu.assertEquals(secret.reveal(part .. part), process.getenv "PATH" .. process.getenv "PATH")
  lu.assertErrorMsgContains("tests/unit/secret.lua", function() return part .. {} end)
  refuses("missing", "a" .. secret.env "PGAFRUN_NO_SUCH_VARIABLE")
end

function T.test_is()
  lu.assertTrue(secret.is(secret.value "x"))
  lu.assertFalse(secret.is "x")
  lu.assertFalse(secret.is(nil))
  lu.assertFalse(secret.is {})
  lu.assertErrorMsgContains("a secret expected, got string", secret.reveal, "x")
end

function T.test_from_the_environment()
  lu.assertEquals(secret.reveal(secret.env "PATH"), process.getenv "PATH")
  lu.assertEquals(secret.source(secret.env "PATH"), "environment variable PATH")
  lu.assertStrContains(refuses("missing", secret.env "PGAFRUN_NO_SUCH_VARIABLE").message, "PGAFRUN_NO_SUCH_VARIABLE")
end

function T.test_from_a_file()
  fs.write(at "a", "from file\n")
  lu.assertEquals(secret.reveal(secret.file(at "a")), "from file")
  fs.write(at "a", "two\n\n")
  lu.assertEquals(secret.reveal(secret.file(at "a")), "two\n")
  process.run { "ln", "-s", "a", at "link" }
  lu.assertEquals(secret.reveal(secret.file(at "link")), "two\n")
end

function T.test_a_file_that_others_can_read_is_refused()
  fs.write(at "a", "text")
  for _, mode in ipairs { "640", "604", "644", "620" } do
    fs.chmod(at "a", octal(mode))
    lu.assertStrContains(refuses("permissions", secret.file(at "a")).message, "0" .. mode)
  end
  process.run { "ln", "-s", "a", at "link" }
  refuses("permissions", secret.file(at "link"))
  fs.chmod(at "a", octal "400")
  lu.assertEquals(secret.reveal(secret.file(at "a")), "text")
  refuses("type", secret.file(directory))
  fs.write(at "empty", "\n")
  refuses("empty", secret.file(at "empty"))
  local _, e = pcall(secret.reveal, secret.file(at "none"))
  lu.assertTrue(error.is(e, "file", "ENOENT"))
end

function T.test_from_a_command()
  lu.assertEquals(secret.reveal(secret.command { "printf", "%s\\n", "a b" }), "a b")
  local e = refuses("command", secret.command { "sh", "-c", "echo sesame; echo locked >&2; exit 3" })
  lu.assertStrContains(e.message, "exited with 3: locked")
  lu.assertNotStrContains(tostring(e), "sesame")
  refuses("empty", secret.command { "true" })
  local _, missing = pcall(secret.reveal, secret.command { "no-such-program" })
  lu.assertTrue(error.is(missing, "process", "ENOENT"))
end

function T.test_is_fetched_once_also_by_many_tasks()
  local s = secret.command { "sh", "-c", ('echo x >>%s; echo value'):format(at "count") }
  do
    local group <close> = task.group()
    for _ = 1, 5 do group:spawn(function() lu.assertEquals(secret.reveal(s), "value") end) end
  end
  lu.assertEquals(fs.read(at "count"), "x\n")
end

function T.test_a_failed_fetch_can_be_repeated()
  local s = secret.file(at "later")
  lu.assertFalse(pcall(secret.reveal, s))
  fs.write(at "later", "there")
  lu.assertEquals(secret.reveal(s), "there")
end

function T.test_a_literal_is_for_labs()
  lu.assertEquals(secret.reveal(secret.literal("changeme-DEV-ONLY", true)), "changeme-DEV-ONLY")
  for _, lab in ipairs { false, "yes" } do
    local ok, e = pcall(secret.literal, "literal-one", lab)
    lu.assertFalse(ok)
    lu.assertTrue(error.is(e, "secret", "literal"))
    lu.assertNotStrContains(tostring(e), "literal-one")
  end
end

function T.test_random()
  lu.assertStrMatches(secret.reveal(secret.random()), "^[0-9a-f]+$")
  lu.assertNotEquals(secret.reveal(secret.random()), secret.reveal(secret.random()))
end

function T.test_masks_what_was_revealed()
  secret.value "p@ss'word/1"
  secret.value "longest-secret"
  secret.value "longest-secret-of-all"
  lu.assertEquals(secret.mask "longest-secret-of-all longest-secret longest", "<secret> <secret> longest")
  lu.assertEquals(secret.mask "a p@ss'word/1 b", "a <secret> b")
  lu.assertEquals(secret.mask "postgres://u:p%40ss%27word%2F1@h/d", "postgres://u:<secret>@h/d")
  lu.assertEquals(secret.mask "ALTER ROLE r PASSWORD 'p@ss''word/1'", "ALTER ROLE r PASSWORD '<secret>'")
  lu.assertEquals(secret.mask "p@ss'word/1p@ss'word/1\0p@ss'word/1", "<secret><secret>\0<secret>")
  secret.value "short"
  lu.assertEquals(secret.mask "short", "short")
  local s = secret.command { "echo", "not-yet-revealed" }
  lu.assertEquals(secret.mask "not-yet-revealed", "not-yet-revealed")
  secret.reveal(s)
  lu.assertEquals(secret.mask "not-yet-revealed", "<secret>")
end

function T.test_masks_what_becomes_of_a_secret_on_its_way()
  local crypto = require "pgafrun.crypto"
  local quote = require "pgaf.quote"
  local text = 'it\'s "one"\\ of\tthem/99'
  secret.value(text)
  lu.assertEquals(secret.mask("psql -c " .. quote.sh(text)), "psql -c '<secret>'")
  lu.assertEquals(secret.mask(json.encode { text }), '["<secret>"]')
  lu.assertEquals(secret.mask "it%27s%20%22one%22%5c%20of%09them%2f99", "<secret>")
  for _, before in ipairs { "", "u", "u:", "us:" } do
    local masked = secret.mask(crypto.base64_encode(before .. text .. "@host"))
    lu.assertStrContains(masked, "<secret>")
    lu.assertTrue(#masked < #"<secret>" + 16, masked)
  end
  secret.value "plain-and-long"
  lu.assertEquals(secret.mask(crypto.base64_encode "plain-and-long"):sub(1, 8), "<secret>")
end

-- A failed command shows its last lines alone.
function T.test_masks_each_line_of_a_secret_of_several_lines()
  secret.value "-----BEGIN TEST KEY-----\r\nfirst-of-many\r\n  it's the second\nshort\n-----END TEST KEY-----\n"
  lu.assertEquals(secret.mask "got: first-of-many.", "got: <secret>.")
  lu.assertEquals(secret.mask "  it's the second", "  <secret>")
  lu.assertEquals(secret.mask "'it'\\''s the second'", "'<secret>'")
  lu.assertEquals(secret.mask "short -----BEGIN TEST KEY-----", "short -----BEGIN TEST KEY-----")
end

function T.test_log_and_errors_are_masked()
  secret.value "in-the-log"
  lu.assertStrContains(tostring(error.new { kind = "data", message = "of in-the-log here" }), "of <secret> here")
  lu.assertNotNil(log.level())
  local code = [[
    local secret = require "pgaf.secret"
    local s = secret.value "in-the-log"
    require "pgafrun.log".warn("message in-the-log", { field = "in-the-log", object = s })
    error("raised in-the-log")]]
  for _, format in ipairs { "text", "json" } do
    local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", "--log-format", format, "-e", code }
    lu.assertNotEquals(r.code, 0)
    lu.assertStrContains(r.stderr, "message <secret>")
    lu.assertStrContains(r.stderr, "raised <secret>")
    lu.assertNotStrContains(r.stdout .. r.stderr, "in-the-log")
  end
end

function T.test_wrong_arguments_are_mistakes_of_the_script()
  lu.assertErrorMsgContains("tests/unit/secret.lua", function() secret.env(nil) end)
  lu.assertErrorMsgContains("must be a string that is not empty", secret.env, "")
  lu.assertErrorMsgContains("the path", secret.file, 5)
  lu.assertErrorMsgContains("must be a list", secret.command, "pass")
  lu.assertErrorMsgContains("the program", secret.command, {})
  lu.assertErrorMsgContains("the value", secret.value, nil)
end

test.run("secret", T)
