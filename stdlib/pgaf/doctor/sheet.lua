-- What an examination finds: lines that say ok, warning, problem or unknown, each with what mends it. The checks of a
-- sheet run side by side, each with a limit of its own, so that what does not answer delays nobody else; the lines come
-- out in the checks' order.

local error = require "pgafrun.error"
local task = require "pgafrun.task"

---@class pgaf.doctor.Finding
---@field status "ok"|"warning"|"problem"|"unknown"
---@field about string "this machine", "incus", "formation", a node's name ...
---@field check string what was looked at, one word
---@field text string
---@field mend? string the command or the setting that mends it
---@field missing? boolean something that is needed is not there, or could not be looked at

---One check's part of a sheet.
---@class pgaf.doctor.Page
---@field about string
---@field check string
---@field findings pgaf.doctor.Finding[]
local Page = {}
Page.__index = Page

local function add(page, status, text, mend, missing)
  table.insert(page.findings, {
    status = status, about = page.about, check = page.check, text = text, mend = mend, missing = missing or nil,
  })
end

---@param text string
function Page:ok(text) add(self, "ok", text) end

---@param text string
---@param mend string
function Page:warning(text, mend) add(self, "warning", text, mend) end

---@param text string
---@param mend string
function Page:problem(text, mend) add(self, "problem", text, mend) end

---Something is needed and is not there.
---@param text string
---@param mend? string
function Page:missing(text, mend) add(self, "problem", text, mend, true) end

---Nobody could look. Does not count as a problem by itself.
---@param text string
---@param mend? string
function Page:unknown(text, mend) add(self, "unknown", text, mend) end

---What a call raised: something is missing where it cannot be reached, is not allowed or not there.
---@param problem any
---@param mend? string in place of the error's own hint
function Page:raised(problem, mend)
  local known = error.is(problem)
  add(self, "problem", known and problem.message or tostring(problem), mend or known and problem.hint or nil, true)
end

---@class pgaf.doctor.Check
---@field about string
---@field check string
---@field limit number seconds
---@field look fun(page: pgaf.doctor.Page)

local sheet = {}

local function perform(check, page)
  local ok, problem = pcall(task.timeout, check.limit, check.look, page)
  if ok then return end
  task.check()
  if error.is(problem, "timeout", "deadline") then
    add(page, "unknown", ("no answer within %g s"):format(check.limit), nil, true)
  else
    page:raised(problem)
  end
end

---Performs all checks, side by side.
---@param checks pgaf.doctor.Check[]
---@return pgaf.doctor.Finding[]
function sheet.fill(checks)
  local pages = {}
  do
    local group <close> = task.group { name = "doctor" }
    for i, check in ipairs(checks) do
      local page = setmetatable({ about = check.about, check = check.check, findings = {} }, Page)
      pages[i] = page
      group:spawn_named(("look at %s of %s"):format(check.check, check.about), perform, check, page)
    end
  end
  local findings = {}
  for _, page in ipairs(pages) do table.move(page.findings, 1, #page.findings, #findings + 1, findings) end
  return findings
end

---0: nothing is wrong; 1: there is a problem; 3: something needed is missing, or could not be looked at.
---@param findings pgaf.doctor.Finding[]
---@return integer
function sheet.exit_code(findings)
  local code = 0
  for _, finding in ipairs(findings) do
    if finding.missing then return 3 end
    if finding.status == "problem" then code = 1 end
  end
  return code
end

return sheet
