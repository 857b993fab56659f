-- Notices of a drill's end, to a server that behaves well or badly.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local mask = require "pgafrun.mask"
local notify = require "pgaf.drill.notify"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local folder = fs.mkdtemp "pgafrun-notify-"

local RESULT = {
  formation = "f", environment = "lab", fault = "kill", run = "r-1", started = "now", budget = 60,
  verdict = { code = 2, name = "FAILED", reasons = { "too 'slow'" } }, gap = { seconds = 61.5 }, audit = { lost = {} },
}

local function refused(word)
  local ok, problem = pcall(notify.parse, { notify = { word } })
  lu.assertFalse(ok, word)
  lu.assertTrue(error.is(problem, "usage"), tostring(problem))
  return problem.message
end

function T.test_what_is_no_url_is_refused_before_anything_runs()
  for _, word in ipairs { "", "example.org/hook", "ftp://example.org/x", "http://", "https:///x", "http://a b/" } do
    refused(word)
  end
  lu.assertStrContains(refused "@/nowhere/at/all", "/nowhere/at/all")
  fs.write(folder .. "/empty", "\n")
  lu.assertStrContains(refused("@" .. folder .. "/empty"), "does not begin with a URL")
end

function T.test_all_of_a_url_but_its_server_is_masked()
  notify.parse { notify = { "https://robot:pass-word@hooks.example/services/T00000000/very-secret-part?token=abcdef" } }
  for _, secret in ipairs { "very-secret-part", "pass-word", "/services/T00000000/very-secret-part?token=abcdef" } do
    lu.assertEquals(mask.apply(secret), "<secret>")
  end
  lu.assertEquals(mask.apply "hooks.example", "hooks.example")
end

function T.test_a_url_may_be_in_a_file()
  fs.write(folder .. "/url", "http://127.0.0.1:1/hidden-hidden\nmore\n")
  lu.assertEquals(notify.parse({ notify = { "@" .. folder .. "/url" } }).urls, { "http://127.0.0.1:1/hidden-hidden" })
end

function T.test_an_outcome_is_a_result_in_few_words()
  local outcome = json.decode(json.encode(notify.outcome(RESULT)))
  lu.assertEquals({ outcome.what, outcome.outcome, outcome.code, outcome.formation, outcome.fault, outcome.lost },
    { "drill", "FAILED", 2, "f", "kill", 0 })
  lu.assertEquals(outcome.reasons[1], "too 'slow'")
  -- of a refusal there is nothing but its verdict
  lu.assertIsString(json.encode(notify.outcome { verdict = { code = 3, name = "NOT POSSIBLE", reasons = {} } }))
end

function T.test_a_command_gets_the_result_and_the_outcome()
  local command = ('cat >%s/in; echo "$PGAFRUN_OUTCOME $PGAFRUN_CODE $PGAFRUN_FAULT $PGAFRUN_REASON" >%s/out'):format(
    folder, folder)
  notify.send(notify.parse { notify_exec = { command } }, RESULT, notify.outcome(RESULT))
  lu.assertEquals(fs.read(folder .. "/out"), "FAILED 2 kill too 'slow'\n")
  lu.assertEquals(json.decode(fs.read(folder .. "/in")).gap.seconds, 61.5)
end

function T.test_a_command_that_fails_or_does_not_read_changes_nothing()
  local big = { verdict = RESULT.verdict, text = ("x"):rep(1000000) }
  notify.send({ urls = {}, commands = { "exit 7", "no-such-command-anywhere", "kill -9 $$", "true" } }, big,
    notify.outcome(RESULT))
end

local ok, problem = pcall(test.run, "drill notify", T)
fs.remove_tree(folder)
if not ok then _G.error(problem, 0) end
