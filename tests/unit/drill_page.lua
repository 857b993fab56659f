local json = require "pgafrun.json"
local ledgers = require "pgaf.drill.ledger"
local page = require "pgaf.drill.page"
local series = require "pgaf.drill.series"
local test = require "pgaf.test"
local timeline = require "pgaf.drill.timeline"

local lu = test.lu
local T = {}

local function ledger(writes)
  local made = ledgers.new()
  for i, w in ipairs(writes) do
    made.count = i
    made.sent[i], made.settled[i], made.fate[i], made.writer[i], made.host[i] = w[1], w[2], w[3], "c", "h"
  end
  return made
end

function T.test_writes_are_put_into_buckets_by_when_they_were_settled()
  local made = series.writes(ledger {
    { 100.00, 100.01, "acknowledged" }, { 100.01, 100.03, "acknowledged" }, { 100.30, 100.31, "refused" },
    { 100.32, nil, "unknown" },
  }, 100)
  lu.assertEquals(made.width, 0.05)
  lu.assertEquals(made.acknowledged[1], 2)
  lu.assertAlmostEquals(made.slowest[1], 20, 1e-6)
  lu.assertEquals(made.slowest[2], false)
  lu.assertEquals(made.failed[7], 1)
  lu.assertEquals(#made.at, #made.acknowledged)
end

function T.test_a_long_drill_has_no_more_points_than_can_be_looked_at()
  local writes = {}
  for i = 1, 100000 do writes[i] = { i, i + 0.001, "acknowledged" } end
  local made = series.writes(ledger(writes), 50000)
  lu.assertTrue(#made.at <= 1502)
  local sum = 0
  for _, n in ipairs(made.acknowledged) do sum = sum + n end
  lu.assertEquals(sum, 100000)
end

function T.test_a_drill_without_writes_has_empty_series()
  lu.assertEquals(series.writes(ledger {}, 0).at, {})
end

function T.test_lanes_have_no_hole_and_no_overlap()
  local t = timeline.new()
  t:expect("a", "a", { nodes = {
    { name = "a", reported = "primary", goal = "primary", health = 1 },
    { name = "b", reported = "secondary", goal = "secondary", health = 1 },
  } })
  t:state("notify", 12, "b", "secondary", "prepare_promotion")
  t:state("notify", 14, "b", "prepare_promotion", "prepare_promotion")
  local lanes = series.lanes(t, 8, 20, 10)
  lu.assertEquals(lanes[1], {
    node = "a", spans = { { from = -2, to = 10, reported = "primary", goal = "primary" } },
  })
  local b = lanes[2].spans
  lu.assertEquals(#b, 3)
  for i = 2, #b do lu.assertEquals(b[i].from, b[i - 1].to) end
  lu.assertEquals(b[3].to, 10)
end

local RESULT = {
  formation = "f", provider = "local", version = "0", started = "now", budget = 60, title = "a <b>bold</b> & title",
  verdict = { code = 4, name = "DATA LOST", reasons = { "</script><script>alert(1)</script>" } },
}

function T.test_the_page_is_complete_in_itself()
  local html = page.render(RESULT)
  lu.assertNil(html:match "<link")
  lu.assertNil(html:match "<script[^>]+src=")
  lu.assertStrContains(html, "uPlot")
  lu.assertStrContains(html, "<title>DATA LOST: a &lt;b&gt;bold&lt;/b&gt; &amp; title on f</title>")
end

function T.test_no_text_ends_the_script_it_is_in()
  local html = page.render(RESULT)
  lu.assertNil(html:find("alert(1)</script>", 1, true))
  local data = html:match '<script type="application/json" id="result">(.-)</script>'
  lu.assertEquals(json.decode(data).verdict.reasons[1], RESULT.verdict.reasons[1])
end

test.run("drill page", T)
