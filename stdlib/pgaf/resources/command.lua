-- A command that is run where it is needed.
--
--     resource.command { script = "initdb.sh", creates = "/srv/db/VERSION", user = "app" }
--     resource.command { argv = { "app", "migrate" }, unless = "app migrated", env = { APP_KEY = secret.env "KEY" } }
--
-- Whether it is needed say `creates`, `removes`, `unless` and `only_if`; without any of them it runs every time.
-- After it ran, what it was to create must be there, and what `unless` asks be so. Secrets go by `stdin` or `env`: an
-- argument list can be read by every user of the machine.

local commands = require "pgaf.resource.commands"
local error = require "pgafrun.error"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local secret = require "pgaf.secret"

local DEFAULT_SECONDS = 300

---@class pgaf.CommandOptions
---@field script? string|fun(target: pgaf.Target): string for a POSIX shell
---@field argv? string[]|fun(target: pgaf.Target): string[] instead of script: a program and its arguments
---@field creates? string absolute path: not run when it is there
---@field removes? string absolute path: only run when it is there
---@field unless? string a script for root that changes nothing: not run when it ends well
---@field only_if? string a script for root that changes nothing: only run when it ends well
---@field stdin? string|pgaf.Secret|fun(target: pgaf.Target): string|pgaf.Secret what it reads
---@field env? table<string, string|pgaf.Secret> variables beside those of the user's session
---@field user? string default "root"
---@field cwd? string folder to run in, default "/"
---@field timeout? integer seconds, default 300
---@field name? string what lists and errors call it; default: its first words
---@field done? string what the report says afterwards, default "ran NAME"

-- What a shell shall do is shown in lists and errors, and has no secrets in it.
local function script_type(value, path, report)
  if secret.is(value) then
    report(path, "is a secret, or was joined to one: the script gets it by env or stdin")
    return value
  end
  return schema.text()(value, path, report)
end

-- A list of words; a secret is not among them.
local function words(value, path, report)
  for i, word in ipairs(type(value) == "table" and value or {}) do
    if secret.is(word) then
      report(("%s[%d]"):format(path, i), "is a secret, and every user can read argument lists: use env or stdin")
      return value
    end
  end
  return schema.list(parameter.text, { min = 1 })(value, path, report)
end

local CONDITIONS = { "creates", "removes", "unless", "only_if" }

local QUESTIONS = { unless = "unless", only_if = "only if" }

local function fact_of(kind, script) return ("%s `%s`"):format(kind, script) end

local function first_words(text)
  local line = text:match "[^\n%s][^\n]*" or "an empty script"
  return #line > 60 and line:sub(1, 57) .. "..." or line
end

local function name_of(options)
  if options.name then return options.name end
  local what = options.script or options.argv
  if secret.is(what) then return "(a secret)" end
  if type(what) == "table" then return first_words(table.concat(what, " ")) end
  return type(what) == "string" and first_words(what) or "(worked out for each target)"
end

-- Why it is not run; nil when it is.
local function needless(options, facts)
  if options.creates and facts.stat[options.creates] then return true end
  if options.removes and not facts.stat[options.removes] then return true end
  if options.unless and facts.sh[fact_of("unless", options.unless)] then return true end
  if options.only_if and not facts.sh[fact_of("only if", options.only_if)] then return true end
  return false
end

-- What a function of the play came to is looked at as the plan does with what was written down.
local function checked(made, key, type, value, target)
  return type(value, key, function(path, message)
    error.raise {
      kind = "config", operation = ("command %s on %s"):format(made.name, target.name),
      message = ("%s of the command for %s %s"):format(path, target.name, message),
    }
  end)
end

local function script_of(made, options, target)
  local text
  if options.script then
    text = checked(made, "script", script_type, parameter.of(options.script, target), target)
  else
    text = "exec " .. quote.sh_list(checked(made, "argv", words, parameter.of(options.argv, target), target))
  end
  if options.cwd then text = ("cd %s || exit\n%s"):format(quote.sh(options.cwd), text) end
  return text
end

local function make(options)
  local name = name_of(options)
  local always = true
  for _, condition in ipairs(CONDITIONS) do always = always and not options[condition] end
  -- that a condition to run holds no longer is not promised; that what it makes is there, is
  local made = { reads = {}, settles = not (options.creates or options.removes or options.unless) or nil }
  for _, key in ipairs { "creates", "removes" } do
    if options[key] then table.insert(made.reads, { "stat", options[key] }) end
  end
  for key, word in pairs(QUESTIONS) do
    local script = options[key]
    if script then
      table.insert(made.reads, { "sh", fact_of(word, script), script = script })
      table.insert(made.reads, {
        "sh", fact_of("syntax of", script), script = ("sh -nc %s 2>&1 || :"):format(quote.sh(script)),
      })
    end
  end

  -- One that no shell can read never says yes: without this it would be taken for a no.
  local function check_syntax(target, facts)
    for key in pairs(QUESTIONS) do
      local said = options[key] and facts.sh[fact_of("syntax of", options[key])]
      if said and said ~= "" then
        error.raise {
          kind = "config", operation = ("command %s on %s"):format(name, target.name),
          message = ("%s is no script that the shell of %s can read%s"):format(
            key, target.name, commands.last_lines(said)),
        }
      end
    end
  end

  function made:probe(target, facts)
    check_syntax(target, facts)
    if needless(options, facts) then return nil end
    if options.creates then return options.creates .. " is not there" end
    if options.removes then return options.removes .. " is there" end
    return always and "runs every time" or "is to be run"
  end

  function made:changes(target) return { { what = name, after = "run: " .. script_of(self, options, target) } } end

  function made:apply(target)
    local env = {}
    for key, value in pairs(options.env or {}) do env[key] = (parameter.reveal(value, target)) end
    local stdin = parameter.reveal(options.stdin, target)
    local result = target.node:run(script_of(self, options, target), {
      user = options.user or target.node.user or "root", env = env, stdin = stdin, timeout = options.timeout,
      check = false,
    })
    if result.code ~= 0 then commands.fail(self, target, name, result) end
    return options.done or "ran " .. name
  end

  return made
end

return resource.define {
  kind = "command",
  parameters = {
    script = { parameter.computed(script_type) },
    argv = { parameter.computed(words) },
    creates = { parameter.path },
    removes = { parameter.path },
    unless = { schema.text() },
    only_if = { schema.text() },
    stdin = { parameter.computed(parameter.secret(parameter.text)) },
    env = {
      schema.map(schema.text { pattern = "[%a_][%w_]*", what = "a variable's name" }, parameter.secret(parameter.text)),
    },
    user = { parameter.name },
    cwd = { parameter.path },
    timeout = { schema.integer(1, 24 * 3600, "seconds"), default = DEFAULT_SECONDS },
    name = { parameter.line },
    done = { parameter.line },
  },
  words = {
    cmd = "script", shell = "script", chdir = "cwd", environment = "env", onlyif = "only_if", become_user = "user",
  },
  name = name_of,
  check = function(options, report)
    if (options.script == nil) == (options.argv == nil) then report "wants either script or argv" end
  end,
  make = make,
}
