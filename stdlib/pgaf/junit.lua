-- JUnit files, which CI systems show as tests: suites of cases. What XML cannot hold shows as escapes, and what is
-- known to be secret as <secret>.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local mask = require "pgafrun.mask"
local text = require "pgaf.play.report.text"

local MODE = tonumber("644", 8)

local junit = {}

---@class pgaf.junit.Case
---@field classname string
---@field name string
---@field seconds? number
---@field outcome? "failures"|"errors"|"skipped" nil: it passed
---@field type? string of a failure or an error
---@field message? string of what is no pass
---@field text? string more about a failure
---@field output? string

---@class pgaf.junit.Suite
---@field name string
---@field timestamp string "2025-03-01T12:34:56"
---@field cases pgaf.junit.Case[]

---Raises kind "usage" when there can be no such file: that is found now, and not at the end of a long run.
---@param path string
---@param option? string the option it was given with, default "--junit"
function junit.check(path, option)
  local folder = path:match "^(.*)/[^/]*$"
  if folder == "" then folder = "/" end
  local ok, found = pcall(function() return fs.stat(fs.realpath(folder or ".")) end)
  if not ok or not found or found.type ~= "directory" or path:sub(-1) == "/" then
    error.raise { kind = "usage", message = ("%s %s: there is no folder for such a file"):format(
      option or "--junit", path) }
  end
  local is_there, target = pcall(fs.realpath, path)
  local old = is_there and fs.stat(target)
  if old and old.type == "directory" then
    error.raise { kind = "usage", message = ("%s %s: this is a folder: name a file in it"):format(
      option or "--junit", path) }
  end
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

-- What XML 1.0 cannot hold, not even as an entity, shows as escapes or goes.
local function escape(value)
  value = text.clean(mask.apply(value)):gsub("\239\191[\190\191]", "")
  return (value:gsub('[&<>"]', ENTITIES))
end

local function attribute(value) return (escape(value):gsub("[\n\t]", { ["\n"] = "&#10;", ["\t"] = "&#9;" })) end

local function element(parts, name, attributes, body)
  local open = { "      <", name }
  for _, pair in ipairs(attributes) do
    if pair[2] ~= nil then open[#open + 1] = (' %s="%s"'):format(pair[1], attribute(tostring(pair[2]))) end
  end
  open[#open + 1] = body == nil and "/>\n" or (">%s</%s>\n"):format(escape(body), name)
  parts[#parts + 1] = table.concat(open)
end

local function seconds(value) return ("%.3f"):format(value or 0) end

local ELEMENTS = { failures = "failure", errors = "error", skipped = "skipped" }

local function put_case(parts, case)
  local inner = {}
  if case.outcome then
    element(inner, ELEMENTS[case.outcome], { { "type", case.type }, { "message", case.message } }, case.text)
  end
  if case.output then element(inner, "system-out", {}, case.output) end
  local open = ('    <testcase classname="%s" name="%s" time="%s"'):format(
    attribute(case.classname), attribute(case.name), seconds(case.seconds))
  if #inner == 0 then
    parts[#parts + 1] = open .. "/>\n"
  else
    parts[#parts + 1] = open .. ">\n" .. table.concat(inner) .. "    </testcase>\n"
  end
end

local function count(suites)
  local all = { tests = 0, failures = 0, errors = 0, skipped = 0, seconds = 0 }
  for _, suite in ipairs(suites) do
    for _, case in ipairs(suite.cases) do
      all.tests, all.seconds = all.tests + 1, all.seconds + (case.seconds or 0)
      if case.outcome then all[case.outcome] = all[case.outcome] + 1 end
    end
  end
  return all
end

local function counts(of, time_taken)
  return ('tests="%d" failures="%d" errors="%d" skipped="%d" time="%s"'):format(
    of.tests, of.failures, of.errors, of.skipped, seconds(time_taken))
end

---The whole document.
---@param name string of the run
---@param suites pgaf.junit.Suite[]
---@param time_taken number seconds, by the clock on the wall
---@return string
function junit.document(name, suites, time_taken)
  local parts = {
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    ('<testsuites name="%s" %s>\n'):format(attribute(name), counts(count(suites), time_taken)),
  }
  for _, suite in ipairs(suites) do
    local of = count { suite }
    parts[#parts + 1] = ('  <testsuite name="%s" %s timestamp="%s">\n'):format(
      attribute(suite.name), counts(of, of.seconds), suite.timestamp)
    for _, case in ipairs(suite.cases) do put_case(parts, case) end
    parts[#parts + 1] = "  </testsuite>\n"
  end
  parts[#parts + 1] = "</testsuites>\n"
  return table.concat(parts)
end

---Writes it: the file is old or new, never half.
---@param path string
---@param document string
function junit.write(path, document) fs.write(path, document, { mode = MODE }) end

return junit
