-- The options that every play has, and what a script does with them after it has declared its steps.

local error = require "pgafrun.error"
local report = require "pgaf.play.report"

local options = {}

-- "a,b" and repeated options alike.
local function words(list)
  local found = {}
  for _, one in ipairs(list) do
    for word in one:gmatch("[^,]+") do
      word = word:match("^%s*(.-)%s*$")
      if word ~= "" then found[#found + 1] = word end
    end
  end
  return found
end

---Declares them on a script's parser.
---@param parser table argparse's
function options.declare(parser)
  parser:flag("-C --check", "Change nothing: tell what a run would change. Exit code 2 when there is something.")
  parser:flag("-D --diff", "Show what differs: files line by line, settings before and after. Secrets are masked.")
  parser:option("-t --tags", "Only steps with one of these tags."):argname "TAGS":count "*"
  parser:option("--skip-tags", "No step with one of these tags."):argname "TAGS":count "*"
  parser:option("-l --limit", "Only on these targets: names, groups, data:!pgaf-3."):argname "TARGETS":count "*"
  parser:flag("--json", "One JSON object a line on standard output, for programs.")
  parser:option("--junit", "Write the outcome of each step to this file too, as CI systems read it."):argname "FILE"
end

---@param arguments table<string, any> as parsed
---@return pgaf.play.Selection
function options.selection(arguments)
  local function given(list) return list and #list > 0 and words(list) or nil end
  return {
    tags = given(arguments.tags), skip_tags = given(arguments.skip_tags),
    limit = arguments.limit and #arguments.limit > 0 and arguments.limit or nil, start_at = arguments.start_at,
  }
end

local function exit_code(result)
  if result.failed then return 1 end
  if result.mode.check and result.counts.would + result.counts.deferred > 0 then return 2 end
  return 0
end

---Runs a declared play as the arguments say.
---@param p pgaf.Play
---@param arguments table<string, any> as parsed
---@return integer exit_code
function options.main(p, arguments)
  local mode = { check = arguments.check or false, diff = arguments.diff or false }
  -- where it asks questions, nothing moves below them
  local tell = report.new { json = arguments.json, junit = arguments.junit, live = not arguments.step }
  local plan = p:plan(options.selection(arguments))
  local claimed = p.before and p.before(mode)
  if claimed and not (getmetatable(claimed) or {}).__close then
    error.raise { kind = "script", message = "what a play's `before` returns has to be closable, or nil" }
  end
  local _ <close> = claimed or nil
  local result = plan:run(tell, mode)
  if p.after then p.after(result, tell) end
  return exit_code(result)
end

return options
