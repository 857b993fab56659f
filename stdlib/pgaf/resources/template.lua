-- A file made of a template and values.
--
--     resource.template { path = "/etc/app.conf", source = "app.conf.tmpl", values = { port = 8080 }, mode = "0644" }
--     resource.template { path = "/etc/motd", text = "This is <%= target.name %>.\n" }
--
-- In a template `<%= EXPRESSION %>` is the value of a Lua expression, `<% STATEMENT %>` is Lua (`<% for ... do %>`,
-- `<% end %>`), `<%# REMARK %>` is nothing, and `<%%` stands for `<%`. A line with statements and remarks alone leaves
-- nothing behind. Nothing is escaped: `quote.conf(value)` and its like do that where it is needed. `target` is always
-- among the values. A name that is not is an error, with the template's line. A secret that is written makes a secret
-- of the file: its difference is not shown.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local templates = require "pgaf.template"

---@class pgaf.TemplateOptions
---@field path string absolute, on the node
---@field source? string the template, a file on this machine; a relative name is looked up beside the script
---@field text? string instead of source: the template itself
---@field values? table<string, any>|fun(target: pgaf.Target): table<string, any> what the template's names stand for
---@field mode? string octal, default "0600"
---@field user? string owner, default "root"
---@field group? string default: the owner's own
---@field shown? boolean whether --diff shows the content; default: if everybody may read the file

local function compile(options, made)
  if options.text then return templates.compile(options.text, "for " .. options.path) end
  return templates.compile(files.read_source(options.source, made), files.local_path(options.source))
end

local function make(options)
  local path = options.path
  local made = { reads = files.reads(options) }

  local compiled
  local function render(target)
    compiled = compiled or compile(options, made)
    local values = { target = target }
    for name, value in pairs(parameter.of(options.values, target) or {}) do values[name] = value end
    return compiled:render(values)
  end

  function made:probe(target, facts)
    return files.difference(facts.file[path], options, target, function() return crypto.sha256((render(target))) end,
      facts)
  end

  function made:changes(target, facts)
    local text, is_secret = render(target)
    return files.changes(target, facts, options, text, is_secret)
  end

  function made:apply(target, _, facts)
    target.node:push(path, (render(target)), files.ownership(options, target, facts))
    return "wrote " .. path:match "[^/]+$"
  end

  return made
end

return resource.define {
  kind = "template",
  parameters = {
    path = { parameter.path, required = true },
    source = { parameter.line },
    text = { parameter.text },
    values = { parameter.computed(schema.map(parameter.line, function(value) return value end)) },
    mode = { parameter.mode, default = "0600" },
    user = { parameter.name },
    group = { parameter.name },
    shown = { schema.boolean() },
  },
  words = { dest = "path", src = "source", content = "text", vars = "values", owner = "user" },
  name = function(options) return options.path end,
  check = function(options, report)
    if (options.source == nil) == (options.text == nil) then return report "wants either source or text" end
    -- the plan tells a broken template; where files cannot be read yet, the run does
    local ok, problem = pcall(compile, options, { kind = "template", name = options.path })
    if not ok and error.is(problem, "template") then report(problem.message) end
    local missing = options.source and files.problem_with(options.source)
    if missing then report("source: " .. missing) end
    return nil
  end,
  make = make,
}
