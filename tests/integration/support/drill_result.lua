-- The result of a drill as pgaf.drill makes one, with everything in it that a report can show: a primary that was
-- killed, a budget that was not kept, a client that never came back.

local json = require "pgafrun.json"

local drill_result = {}

local FAULT, GAP = 5, 51.3

local function writes()
  local series = { width = 0.05, at = {}, acknowledged = {}, slowest = {}, failed = {} }
  for i = 1, 1400 do
    local at = (i - 1) * 0.05 - FAULT
    local down = at > 0.02 and at < GAP
    series.at[i] = at
    series.acknowledged[i] = down and 0 or 4 + i % 3
    series.slowest[i] = not down and 2 + (i * 7919 % 13) + (at > GAP and at < GAP + 2 and 40 or 0)
    series.failed[i] = down and i % 20 == 0 and 1 or 0
  end
  return series
end

local function span(from, to, reported, goal)
  return { from = from, to = to, reported = reported, goal = goal or reported }
end

local function lanes()
  return {
    { node = "pgaf-staging-with-a-long-name-1", spans = {
      span(-5, 20.4, "primary"), span(20.4, 50.9, "primary", "draining"), span(50.9, 55, "primary", "demoted"),
      span(55, 58, "catchingup"), span(58, 65, "secondary"),
    } },
    { node = "pgaf-2", spans = {
      span(-5, 20.4, "secondary"), span(20.4, 50.9, "secondary", "prepare_promotion"),
      span(50.9, 58, "wait_primary"), span(58, 65, "primary"),
    } },
  }
end

local function phase(key, name, from, seconds, setting, more)
  local made = {
    key = key, name = name, from = from, to = from + seconds, seconds = seconds, setting = setting, outage = true,
    unseen = json.as_array(),
  }
  for field, value in pairs(more or {}) do made[field] = value end
  return made
end

local AFTER = { outage = false }

local function phases()
  return {
    phase("death", "processes die", 0, 0.084, "the provider's forced stop"),
    phase("detection", "the monitor notices", 0.084, 20.3, "node_considered_unhealthy_timeout = 20 s",
      { budget = 15, over = true }),
    phase("promotion", "promotion", 20.4, 1.2, "wal_retrieve_retry_interval = 0.2 s; checkpoint",
      { budget = 5, unseen = { "assigned" } }),
    phase("presumed-gone", "old primary presumed gone", 21.6, 29.3, "primary_demote_timeout = 30 s"),
    phase("opening", "writing is opened", 50.9, 0.1, "pg_autoctl reloads PostgreSQL"),
    phase("reconnection", "every client is back", 51, 0.3, "the clients' connect_timeout = 1 s"),
    phase("start", "victim starts", 51.3, 2, "boot, pg_autoctl", AFTER),
    phase("healthy", "all healthy", 53.3, 6.4, "health_check_period = 5 s", AFTER),
  }
end

local function timeline()
  local list = {}
  for i, text in ipairs {
    "fault sent", "its processes are dead", "primary -> draining", "the monitor acts on it",
    "secondary -> prepare_promotion", "promoted, still read-only", "wait_primary -> wait_primary",
    "first write acknowledged to every client",
  } do
    list[i] = { seconds = (i - 1) * 7.3, source = i % 3 == 0 and "monitor" or "drill", node = "pgaf-2", text = text }
  end
  return list
end

---@return table
function drill_result.make()
  local settings = {}
  for _, name in ipairs {
    "health_check_period", "health_check_timeout", "node_considered_unhealthy_timeout", "primary_demote_timeout",
  } do settings[name] = 5 end
  return {
    formation = "pgaf-staging", provider = "incus", version = "0.1.0", started = "2025-03-01T12:34:56.789Z",
    fault_at = "2025-03-01T12:35:02.001Z", ended = "2025-03-01T12:36:30.000Z", run = "20250301T123456Z-ab12",
    fault = "container-kill", title = "the primary's container is killed", budget = 60, promotion = "must",
    hypothesis = "a standby is promoted, and no acknowledged write is lost", promoted = true,
    verdict = { code = 2, name = "FAILED", reasons = {
      "the monitor notices: 20.30 s, its budget is 15 s; decided by: node_considered_unhealthy_timeout = 20 s",
    } },
    zero = 100, gap = { from = 100.02, to = 100 + GAP, seconds = GAP - 0.02 }, series = writes(), lanes = lanes(),
    phases = phases(), budgets_not_seen = { "rejoin" },
    recoveries = {
      { key = "proxy", name = "a proxy finds the primary", seconds = 51.1, recovered = true,
        setting = "its health check" },
      { key = "pinned", name = "a pinned client writes", seconds = 60.2, recovered = false,
        setting = "its node's return" },
    },
    prediction = { best = 49, worst = 59.1, terms = {
      { what = "the monitor notices", best = 19, worst = 26, setting = "node_considered_unhealthy_timeout = 20 s" },
      { what = "promotion; the old primary is presumed gone", best = 30, worst = 31,
        setting = "primary_demote_timeout = 30 s" },
    } },
    seconds = { promoted = 21.6, writable = 51, first_ack = 51.3, whole = 59.7 },
    outage = { from = 100.02, to = 151.3, seconds = 51.28, by_rows = 51.28, allowed = 0.02, agrees = true },
    writes = { acknowledged = 6321, refused = 12, unknown = 1 }, async = { seconds = 7.1, acknowledged = 612 },
    audit = {
      lost = json.as_array(), ghosts = json.as_array(), duplicates = json.as_array(), strangers = json.as_array(),
      unknown_present = 1, unknown_absent = 0, rows = 6322, data_gap = 51.28,
      nodes = { ["pgaf-staging-with-a-long-name-1"] = { differs = json.as_array() } },
    },
    personas = {
      pinned = { acknowledged = 98, refused = 210, unknown = 2, last = 0.01 }, split_brain = json.as_array(),
      reads = 1201, longest_unread = 1.2, went_back = json.as_array(),
    },
    roles = { before = { primary = "pgaf-staging-with-a-long-name-1" }, after = { primary = "pgaf-2" } },
    timers = settings, synchronous_commit = "on", timeline = timeline(),
  }
end

return drill_result
