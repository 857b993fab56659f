-- Some lines of a file that is otherwise not ours, between two marks. A mark without the other is refused.
--
--     resource.block { path = "/etc/hosts", lines = { "10.0.0.7 backup" } }
--     resource.block { path = "/etc/profile", name = "proxy", lines = function(target) return { ... } end }

local edit = require "pgaf.resource.edit"
local parameter = require "pgaf.resource.parameter"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.BlockOptions
---@field path string absolute, on the node
---@field lines? (string|pgaf.Secret)[]|fun(target: pgaf.Target): (string|pgaf.Secret)[] the lines between the marks
---@field name? string tells several blocks of one file apart
---@field comment? string what a remark begins with in this file, default "#"
---@field state? "present"|"absent" default "present"
---@field create? boolean makes the file when it is not there, default true
---@field mode? string octal; default: as it is; for a new file "0644", with a secret in it "0600"
---@field user? string owner; default: as it is
---@field group? string default: as it is
---@field shown? boolean whether --diff shows the content; default: if everybody may read the file

local COMMENT = "#"

local function marks(comment, name)
  local label = name and " " .. name or ""
  return comment .. " begin pgafrun" .. label, comment .. " end pgafrun" .. label
end

---Whether a text has a block without a name, as it is marked by default.
---@param text string
---@return boolean
local function is_in(text) return edit.between(text, marks(COMMENT)) ~= nil end

local function make(options)
  local path, label = options.path, options.name and " " .. options.name or ""
  local first_mark, last_mark = marks(options.comment, options.name)

  local function block(target)
    local lines, is_secret = parameter.reveal_list(options.lines, target)
    return ("%s\n%s\n%s\n"):format(first_mark, table.concat(lines, "\n"), last_mark), is_secret
  end

  local function wanted(text, target, refuse)
    local from, to, problem = edit.between(text, first_mark, last_mark)
    if problem then refuse(("%s: %s"):format(path, problem), edit.MEND_MARKS) end
    local ours, is_secret = "", false
    if options.state == "present" then ours, is_secret = block(target) end
    if from then return text:sub(1, from - 1) .. ours .. text:sub(to + 1), is_secret end
    if ours == "" then return text end
    return edit.insert(text, #text + 1, ours), is_secret
  end

  return edit.new {
    path = path, create = options.create, mode = options.mode, user = options.user, group = options.group,
    shown = options.shown,
    wanted = wanted, done = ("wrote the block%s in %s"):format(label, path),
    difference = function() return ("the block%s in %s differs, or is not there"):format(label, path) end,
  }
end

return resource.define {
  kind = "block",
  parameters = {
    path = { parameter.path, required = true },
    lines = { parameter.computed(schema.list(parameter.secret(parameter.text))) },
    name = { parameter.line },
    comment = { parameter.line, default = COMMENT },
    state = { parameter.state(), default = "present" },
    create = { schema.boolean(), default = true },
    mode = { parameter.mode },
    user = { parameter.name },
    group = { parameter.name },
    shown = { schema.boolean() },
  },
  words = { dest = "path", block = "lines", marker = "name", owner = "user" },
  name = function(options) return options.path end,
  check = function(options, report)
    if options.state == "present" and not options.lines then report "lines is missing" end
  end,
  make = make,
  also = { is_in = is_in },
}
