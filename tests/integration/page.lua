-- The reports of a drill and of a campaign as a browser shows them: nothing on its console, charts drawn, nothing wider
-- than the window, texts that can be read, at 1280 and 400 pixels, light and dark, and on paper.

local campaign_page = require "pgaf.drill.campaign_page"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local page = require "pgaf.drill.page"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local test = require "pgaf.test"

local here = program.script:match "^(.*)/" or "."
local drill_result = dofile(here .. "/support/drill_result.lua")

local lu = test.lu
local T = {}

local folder = fs.mkdtemp "pgafrun-page"
local report = page.render(drill_result.make())

local function campaign()
  local faults, runs = {}, {}
  for i, name in ipairs { "container-kill", "monitor-and-primary-kill", "replication-latency" } do
    local values = { 50.71, 51.2, 49.98, 50.44, 52.01 }
    faults[i] = {
      fault = name, n = #values, verdicts = { PASSED = 4, FAILED = 1 }, lost = 0,
      gap = { median = 50.71, p95 = 52.01, max = 52.01, values = values },
    }
    for number, gap in ipairs(values) do
      runs[#runs + 1] = {
        fault = name, number = number, run = "r", verdict = number == 3 and "FAILED" or "PASSED", gap = gap, lost = 0,
        started = "2025-03-01T12:34:56.789Z",
        reasons = number == 3 and { "clients could not write for 70.00 s, the budget is 60 s" } or {},
      }
    end
  end
  return campaign_page.render({
    verdict = { code = 2, name = "FAILED" }, formation = "pgaf-staging", faults = faults, runs = runs, not_run = 0,
    started = "2025-03-01T12:34:56.789Z", ended = "2025-03-01T14:34:56.789Z", seed = 42,
    left_out = { { fault = "disk-full-primary", why = "the provider has no volumes of its own for a data folder" } },
  }, function(run) return run.fault .. ".html" end)
end

-- Put into a copy of the report. What it finds it tells the page around it.
local PROBE = [[
<script>
addEventListener("load", () => setTimeout(() => {
  const root = document.documentElement;
  // of a colour's text: its parts from 0 to 1
  const parts = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const contrast = (e) => {
    const a = luminance(parts(getComputedStyle(e).color)), b = luminance(ground(e));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const faint = new Set();
  for (const e of document.querySelectorAll("h1, h2, p, a, td, th, b, span, summary, .label, .tile"))
    if (e.textContent.trim() && e.getClientRects().length && contrast(e) < 4.5)
      faint.add(e.tagName + "." + e.className + " " + contrast(e).toFixed(1) + " " + e.textContent.trim().slice(0, 20));
  const wide = [];
  for (const e of document.querySelectorAll("body *"))
    if (e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .uplot, .track"))
      wide.push(e.tagName + "." + e.className);
  const charts = [...document.querySelectorAll("canvas")].map((c) => {
    const pixels = c.getContext("2d").getImageData(0, 0, c.width, c.height).data, colours = new Set();
    let drawn = 0;
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i + 3] > 0) {
        drawn++;
        colours.add((pixels[i] >> 4) + "," + (pixels[i + 1] >> 4) + "," + (pixels[i + 2] >> 4));
      }
    return { width: c.getBoundingClientRect().width, drawn: drawn / (c.width * c.height), colours: colours.size };
  });
  parent.postMessage(JSON.stringify({
    width: innerWidth, scroll: root.scrollWidth, charts, wide, faint: [...faint],
    dark: matchMedia("(prefers-color-scheme: dark)").matches, ground: luminance(ground(document.body)),
    sections: [...document.querySelectorAll("h2")].map((e) => e.textContent),
  }), "*");
}, 100));
</script>
]]

local function browser()
  for _, name in ipairs { "chromium", "chromium-browser", "google-chrome" } do
    if process.run({ "sh", "-c", "command -v " .. name }).code == 0 then return name end
  end
end

local program_name = browser()

local function browse(arguments)
  local command = {
    program_name, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
    "--no-first-run", "--hide-scrollbars", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000",
    "--user-data-dir=" .. folder .. "/profile", timeout = 120, extend_env = { HOME = folder },
  }
  table.move(arguments, 1, #arguments, #command + 1, command)
  local result = process.run(command)
  lu.assertEquals(result.code, 0, result.stderr)
  -- what the page itself says on its console
  lu.assertNil(result.stderr:match "[^\n]*CONSOLE[^\n]*")
  return result.stdout
end

-- A browser's own window is never narrow: a page in a frame is as wide as the frame. What the probe tells is left in an
-- attribute, which --dump-dom shows.
local FRAME = [[<!doctype html><meta name="color-scheme" content="light dark"><body style="margin:0">
<iframe src="report.html" style="border:0;width:%dpx;height:4000px"></iframe>
<script>
addEventListener("message", (e) => { document.documentElement.dataset.probe = e.data; });
</script>]]

local function probe(html, width, dark)
  fs.write(folder .. "/report.html", (html:gsub("</body>", function() return PROBE .. "</body>" end)))
  fs.write(folder .. "/frame.html", FRAME:format(width))
  local dom = browse {
    ("--blink-settings=preferredColorScheme=%d"):format(dark and 0 or 1), "--dump-dom",
    "--window-size=1400,1000", "file://" .. folder .. "/frame.html",
  }
  local text = dom:match 'data%-probe="(.-)"'
  lu.assertNotNil(text, dom:sub(1, 2000))
  return json.decode((text:gsub("&quot;", '"'):gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&amp;", "&")))
end

local function check(html, width, dark)
  local found = probe(html, width, dark)
  lu.assertEquals(found.width, width)
  lu.assertEquals(found.dark, dark)
  lu.assertEquals(found.ground < 0.2, dark)
  lu.assertTrue(found.scroll <= width, ("%d wide in %d pixels"):format(found.scroll, width))
  lu.assertEquals(found.wide, {})
  lu.assertEquals(found.faint, {})
  return found
end

local function check_drill(width, dark)
  local found = check(report, width, dark)
  lu.assertEquals(#found.charts, 2)
  for _, chart in ipairs(found.charts) do
    lu.assertTrue(chart.width <= width)
    lu.assertTrue(chart.drawn > 0.01, "an empty chart")
    lu.assertTrue(chart.colours > 3, "a chart without lines")
  end
  lu.assertTrue(#found.sections >= 8, table.concat(found.sections, ", "))
end

function T.test_wide_and_light() check_drill(1280, false) end
function T.test_wide_and_dark() check_drill(1280, true) end
function T.test_narrow_and_light() check_drill(400, false) end
function T.test_narrow_and_dark() check_drill(400, true) end

function T.test_a_campaign()
  lu.assertEquals(#check(campaign(), 1280, true).sections, 3)
  lu.assertEquals(#check(campaign(), 400, false).sections, 3)
end

function T.test_it_is_printed()
  local path = folder .. "/report.pdf"
  fs.write(folder .. "/printed.html", report)
  browse { "--print-to-pdf=" .. path, "file://" .. folder .. "/printed.html" }
  lu.assertStrContains(fs.read(path):sub(1, 5), "%PDF-")
end

local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
if not program_name then
  print "SKIPPED: no chromium is installed, nobody looked at the report"
  return 77
end
return test.run("the report in a browser", T)
