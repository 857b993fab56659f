-- Tells somebody how a drill or a campaign ended: by a request to a URL, or by a command. A notice that does not arrive
-- is told in the log, and changes nothing.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local http = require "pgafrun.http"
local json = require "pgafrun.json"
local log = require "pgafrun.log"
local mask = require "pgafrun.mask"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local text = require "pgaf.play.report.text"

local TRIES = 4
local FIRST_PAUSE_SECONDS = 1
local REQUEST_SECONDS = 10
-- For all tries of one notice. Somebody waits for the drill's exit code.
local NOTICE_SECONDS = 60
local COMMAND_SECONDS = 60
local LONGEST_URL_FILE = 65536

local notify = {}

---@class pgaf.Notices
---@field urls string[]
---@field commands string[]

local function refuse(message, hint) error.raise { kind = "usage", message = message, hint = hint } end

-- Who has such a URL can post there, so that all of it but the server is a secret.
local function hide(url)
  local target = url:match "^%a+://[^/?#]*(.*)$"
  local login = url:match "^%a+://([^/?#@]*)@"
  for _, secret in ipairs { url, target, login or "", login and login:match ":(.*)$" or "" } do mask.add(secret) end
  for segment in target:gmatch "[^/?&=#]+" do
    -- an error may name parts of it; short ones are words
    if #segment >= 12 then mask.add(segment) end
  end
end

-- The server alone, for people.
local function server_of(url) return (url:match "^(%a+://)[^/?#@]*@" or url:match "^%a+://") ..
  (url:match "^%a+://[^/?#@]*@([^/?#]*)" or url:match "^%a+://([^/?#]*)") end

local function url_of(word)
  local url = word
  if word:sub(1, 1) == "@" then
    local path = word:sub(2)
    local ok, content = pcall(fs.read, path, { max_bytes = LONGEST_URL_FILE })
    if not ok then refuse(("--notify %s: %s"):format(word, content.message or tostring(content))) end
    url = content:match "^%s*(%S+)" or ""
  end
  local scheme, rest = url:match "^(%a+)://(.+)$"
  if (scheme ~= "http" and scheme ~= "https") or rest:find "[%s%c]" or rest:find "^[/?#@]" then
    refuse(word == url and "--notify wants a URL such as https://host/path, or @FILE with one in it"
      or ("--notify %s: the file does not begin with a URL such as https://host/path"):format(word))
  end
  hide(url)
  return url
end

---What the options say. Raises kind "usage" when a URL is none.
---@param args { notify?: string[], notify_exec?: string[] }
---@return pgaf.Notices
function notify.parse(args)
  local urls = {}
  for i, word in ipairs(args.notify or {}) do urls[i] = url_of(word) end
  return { urls = urls, commands = args.notify_exec or {} }
end

---@class pgaf.Outcome what a notice tells, in few words
---@field what "drill"|"campaign"
---@field outcome string the verdict's name
---@field code integer the exit code
---@field formation string
---@field environment? string
---@field fault? string
---@field run? string
---@field reasons string[]
---@field gap_seconds? number
---@field budget_seconds? number
---@field lost? integer
---@field runs? integer of a campaign
---@field started? string
---@field ended? string

---A drill's result in few words.
---@param result table
---@return pgaf.Outcome
function notify.outcome(result)
  return {
    what = "drill", outcome = result.verdict.name, code = result.verdict.code, formation = result.formation,
    environment = result.environment, fault = result.fault, run = result.run,
    reasons = json.as_array(result.verdict.reasons), gap_seconds = result.gap and result.gap.seconds,
    budget_seconds = result.budget, lost = result.audit and #result.audit.lost, started = result.started,
    ended = result.ended,
  }
end

-- Later it may be different.
local function passes(status) return status == 408 or status == 425 or status == 429 or status >= 500 end

local function post(url, body, key)
  local pause = FIRST_PAUSE_SECONDS
  for try = 1, TRIES do
    local ok, answer = pcall(http.request, {
      url = url, method = "POST", body = body, timeout = REQUEST_SECONDS,
      -- for a server that gets it twice: an answer may get lost
      headers = { ["Content-Type"] = "application/json", ["User-Agent"] = "pgafrun", ["Idempotency-Key"] = key },
    })
    task.check()
    if ok and answer.status >= 200 and answer.status < 300 then return end
    local later = not ok and error.is(answer) and answer.kind ~= "data" and answer.kind ~= "tls"
      or ok and passes(answer.status)
    if try == TRIES or not later then
      return ok and ("it answered with status %d"):format(answer.status) or tostring(answer)
    end
    task.sleep(pause)
    pause = pause * 2
  end
end

local function environment_of(outcome)
  local function value(v)
    if math.type(v) == "float" then return ("%.3f"):format(v) end
    return v ~= nil and tostring(v) or ""
  end
  return {
    PGAFRUN_WHAT = outcome.what, PGAFRUN_OUTCOME = outcome.outcome, PGAFRUN_CODE = value(outcome.code),
    PGAFRUN_FORMATION = value(outcome.formation), PGAFRUN_ENVIRONMENT = value(outcome.environment),
    PGAFRUN_FAULT = value(outcome.fault), PGAFRUN_RUN = value(outcome.run),
    PGAFRUN_GAP_SECONDS = value(outcome.gap_seconds), PGAFRUN_LOST = value(outcome.lost),
    PGAFRUN_REASON = value(outcome.reasons[1]),
  }
end

local function execute(command, result, outcome)
  local ended = process.run {
    "sh", "-c", command, stdin = json.encode(result) .. "\n", extend_env = environment_of(outcome),
    timeout = COMMAND_SECONDS,
  }
  if ended.code == 0 then return end
  local last = text.last_lines(text.clean(ended.stderr), 1)[1]
  return ("it ended with %s%s"):format(ended.code and "status " .. ended.code or "signal " .. ended.signal,
    last and ": " .. last or "")
end

local function attempt(what, seconds, f, ...)
  local ok, problem = pcall(task.shield, seconds, f, ...)
  if not ok then problem = tostring(problem) end
  if problem then log.warn("the notice did not arrive", { to = what, why = mask.apply(problem) }) end
end

---Sends the notices, all at once, out of reach of cancellation. Never raises.
---@param notices pgaf.Notices
---@param result table what a command gets on its standard input
---@param outcome pgaf.Outcome what a URL gets, as JSON
function notify.send(notices, result, outcome)
  if #notices.urls + #notices.commands == 0 then return end
  local ok, body = pcall(json.encode, outcome)
  if not ok then return log.warn("the notice could not be made", { why = tostring(body) }) end
  local key = ("%s-%s-%s"):format(outcome.what, outcome.run or outcome.started or "none", outcome.code)
  task.shield(NOTICE_SECONDS + COMMAND_SECONDS, function()
    local group <close> = task.group { name = "notices" }
    for _, url in ipairs(notices.urls) do
      group:spawn_named("notice to " .. server_of(url), attempt, server_of(url), NOTICE_SECONDS, post, url, body, key)
    end
    for _, command in ipairs(notices.commands) do
      -- its arguments may be secrets
      local name = text.clean(command:match "%S+" or "")
      group:spawn_named("notice by " .. name, attempt, name, COMMAND_SECONDS + 5, execute, command, result, outcome)
    end
  end)
end

return notify
