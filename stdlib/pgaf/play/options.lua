-- The options that every play has, and what a script does with them after it has declared its steps.

local throw = error
local error = require "pgafrun.error"
local mask = require "pgafrun.mask"
local program = require "pgafrun.program"
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

local function declare_lists(parser)
  parser:flag("--list-tasks", "List the steps that would run, and run none.")
  parser:flag("--list-hosts", "List the targets that they would run on.")
  parser:flag("--list-tags", "List their tags.")
  parser:option("--graph", "Show the order of the steps; as text, or for Graphviz."):argname "dot":args "?"
  parser:flag("--syntax-check", "Load everything and tell every mistake that can be seen without touching anything.")
end

---Declares them on a script's parser.
---@param parser table argparse's
function options.declare(parser)
  parser:flag("-C --check", "Change nothing: tell what a run would change. Exit code 2 when there is something.")
  parser:flag("-D --diff", "Show what differs: files line by line, settings before and after. Secrets are masked.")
  parser:option("-t --tags", "Only steps with one of these tags."):argname "TAGS":count "*"
  parser:option("--skip-tags", "No step with one of these tags."):argname "TAGS":count "*"
  parser:option("-l --limit", "Only on these targets: names, groups, data:!pgaf-3."):argname "TARGETS":count "*"
  parser:option("--start-at --start-at-task", "Leave out the steps that are declared before this one.")
    :argname "STEP":target "start_at"
  parser:flag("--step", "Ask before each step.")
  declare_lists(parser)
  parser:flag("--json", "One JSON object a line on standard output, for programs.")
  parser:option("--junit", "Write the outcome of each step to this file too, as CI systems read it."):argname "FILE"
end

---Raises kind "usage" for --tags without a tag: a variable that is empty by mistake must not run everything.
---@param arguments table<string, any> as parsed
---@return pgaf.play.Selection
function options.selection(arguments)
  local function given(list) return list and #list > 0 and list or nil end
  if given(arguments.tags) and not given(words(arguments.tags)) then
    error.raise { kind = "usage", message = "--tags: it names no tag" }
  end
  return {
    tags = given(words(arguments.tags or {})), skip_tags = given(words(arguments.skip_tags or {})),
    limit = given(arguments.limit), start_at = arguments.start_at,
  }
end

local function exit_code(result)
  if result.failed then return 1 end
  if result.mode.check and result.counts.would + result.counts.deferred > 0 then return 2 end
  return 0
end

local function to_stdout(line) io.stdout:write(mask.apply(line), "\n") end

-- --graph and the lists; true when one was asked for.
local function list(plan, arguments)
  local what = {
    tasks = arguments.list_tasks, hosts = arguments.list_hosts, tags = arguments.list_tags, graph = arguments.graph,
  }
  if not next(what) then return false end
  local listing = require "pgaf.play.listing"
  if arguments.json then
    listing.json(plan, what, to_stdout)
    return true
  end
  for _, one in ipairs { "tasks", "hosts", "tags" } do
    if what[one] then listing[one](plan, to_stdout) end
  end
  if what.graph then
    local form = what.graph[1] or "text"
    require("pgaf.play.graph")[form](plan, to_stdout)
  end
  return true
end

local function check_arguments(arguments)
  local form = arguments.graph and arguments.graph[1]
  if form and form ~= "dot" and form ~= "text" then
    error.raise { kind = "usage", message = ("--graph wants text or dot, not %q"):format(form) }
  end
  if arguments.step and arguments.json then
    error.raise { kind = "usage", message = "--step asks a person, and --json is for programs: one of them" }
  end
end

-- What has to be right before anything is touched; a refusal is reported, and goes on its way.
local function before(p, plan, tell, mode)
  local _ <close> = setmetatable({}, {
    __close = function(_, raised)
      if raised ~= nil then tell:refused(plan, raised) end
    end,
  })
  return p.before(mode)
end

-- What `before` took is given back when the run has ended, however it ends.
local function run(p, plan, tell, mode)
  local claimed = p.before and before(p, plan, tell, mode)
  if claimed and not (getmetatable(claimed) or {}).__close then
    error.raise { kind = "script", message = "what a play's `before` returns has to be closable, or nil" }
  end
  local _ <close> = claimed or nil
  if claimed and claimed.hold then
    mode.before_change = function() claimed:hold() end
  end
  local result = plan:run(tell, mode)
  if p.after then p.after(result, tell) end
  return exit_code(result)
end

-- A mistake in how play.main is called, at its place; the frame of who returns its result is gone.
local function complain(p, level, message)
  local info = not debug.getinfo(level, "t").istailcall and debug.getinfo(level + 1, "Sl")
  local place = info and info.currentline > 0 and ("%s:%d"):format(info.source:gsub("^@", ""), info.currentline)
  throw(("%s: %s"):format(place or (type(p) == "table" and p.where) or program.script or "script", message), 0)
end

-- What is wrong with a script that declares two plays; nil: nothing. The second would be checked, and its --tags and
-- --start-at understood, only when the first had changed something.
local function second_play(p)
  local own, is_own = {}, false
  for _, one in ipairs(require("pgaf.play").declared) do
    local file = one.where:match "^(.*):%d+$"
    if (one == p or #one.steps > 0) and file == program.script then
      own[#own + 1], is_own = one, is_own or one == p
    end
  end
  if #own < 2 or not is_own then return nil end
  return ("%s: a script has one play, and this is another beside the one at %s: make them sections of one " ..
    "(p:section), or two scripts"):format(own[2].where, own[1].where)
end

---Runs a declared play as the arguments say.
---@param p pgaf.Play
---@param arguments table<string, any> as parsed
---@return integer exit_code
function options.main(p, arguments)
  if type(p) ~= "table" or not p.steps or type(arguments) ~= "table" then
    complain(p, 2, "play.main wants a play and what cli.parse returned: return play.main(p, arguments)")
  end
  check_arguments(arguments)
  local chosen, second = options.selection(arguments), second_play(p)
  if arguments.syntax_check then return require("pgaf.play.syntax").finish(p, chosen, second) end
  if second then error.raise { kind = "plan", message = second, problems = { second } } end
  local plan = p:plan(chosen)
  if list(plan, arguments) then return 0 end
  -- where it asks questions, nothing moves below them
  local tell = report.new { json = arguments.json, junit = arguments.junit, live = not arguments.step }
  return run(p, plan, tell, {
    check = arguments.check or false, diff = arguments.diff or false,
    ask = arguments.step and require("pgaf.play.prompt").new() or nil,
  })
end

return options
