-- One line of a file that is otherwise not ours.
--
--     resource.line { path = "/etc/ssh/sshd_config", pattern = "^#?%s*PermitRootLogin%s", line = "PermitRootLogin no" }
--     resource.line { path = "/etc/fstab", pattern = "%sswap%s", state = "absent" }
--
-- The last line that matches the pattern becomes the line. Where the pattern does not match the line itself, that is
-- done once: a line that is there already is left where it is. Where nothing matches, and the line is not there yet, it
-- is put after (or before) the last line that matches `insert_after` (`insert_before`), or at the end.

local edit = require "pgaf.resource.edit"
local parameter = require "pgaf.resource.parameter"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"

---@class pgaf.LineOptions
---@field path string absolute, on the node
---@field line? string|pgaf.Secret|fun(target: pgaf.Target): string|pgaf.Secret the line, without its line break
---@field pattern? string a Lua pattern: the line that is replaced, or, with state "absent", all lines that go
---@field insert_after? string a Lua pattern: where a new line goes; default: at the end
---@field insert_before? string a Lua pattern, or "BOF": the beginning of the file
---@field state? "present"|"absent" default "present"
---@field create? boolean makes the file when it is not there, default false
---@field mode? string octal; default: as it is; for a new file "0644", with a secret in it "0600"
---@field user? string owner; default: as it is
---@field group? string default: as it is
---@field shown? boolean whether --diff shows the content; default: if everybody may read the file

---A Lua pattern.
---@type pgaf.schema.Type
local function pattern(value, path, report)
  if type(value) ~= "string" or value == "" then
    report(path, "wants a Lua pattern")
  elseif not pcall(string.find, "", value) then
    report(path, ("is no Lua pattern: %q"):format(value))
  end
  return value
end

local function without(text, options, line)
  local kept = {}
  for _, one in edit.lines(text) do
    local goes = one == line or options.pattern and one:find(options.pattern)
    if not goes then kept[#kept + 1] = one end
  end
  local result = table.concat(kept, "\n")
  -- nothing went: the text as it was, with or without its last line break
  if result == text or result .. "\n" == text then return text end
  return #kept > 0 and result .. "\n" or ""
end

-- Where a new line goes: the position of the line that will follow it.
local function place(text, options)
  if options.insert_before == "BOF" then return 1 end
  local found
  for at, one in edit.lines(text) do
    if options.insert_before and one:find(options.insert_before) then found = at end
    if options.insert_after and one:find(options.insert_after) then found = at + #one + 1 end
  end
  return found or #text + 1
end

---The text with the line in its place.
---@param text string
---@param options pgaf.LineOptions
---@param line? string
---@return string
local function edited(text, options, line)
  if options.state == "absent" then return without(text, options, line) end
  local at, length, is_there
  for from, one in edit.lines(text) do
    if one == line then is_there = true end
    if options.pattern and one:find(options.pattern) then at, length = from, #one end
  end
  if is_there and not (at and line:find(options.pattern)) then return text end
  if at then return text:sub(1, at - 1) .. line .. text:sub(at + length) end
  return edit.insert(text, place(text, options), line .. "\n")
end

local function make(options)
  local path, absent = options.path, options.state == "absent"
  return edit.new {
    path = path, create = options.create or absent, mode = options.mode, user = options.user, group = options.group,
    shown = options.shown,
    wanted = function(text, target, refuse)
      if not options.line then return edited(text, options) end
      local line, is_secret = parameter.reveal(options.line, target)
      if type(line) ~= "string" or line:find "\n" then refuse "the line that was worked out is no text of one line" end
      return edited(text, options, line), is_secret
    end,
    done = absent and "removed the line from " .. path or "wrote the line in " .. path,
    difference = function()
      return absent and ("the line is in %s"):format(path) or ("the line in %s differs, or is not there"):format(path)
    end,
  }
end

return resource.define {
  kind = "line",
  parameters = {
    path = { parameter.path, required = true },
    line = { parameter.computed(parameter.secret(parameter.line)) },
    pattern = { pattern },
    insert_after = { pattern },
    insert_before = { pattern },
    state = { parameter.state(), default = "present" },
    create = { schema.boolean(), default = false },
    mode = { parameter.mode },
    user = { parameter.name },
    group = { parameter.name },
    shown = { schema.boolean() },
  },
  words = {
    dest = "path", regexp = "pattern", regex = "pattern", insertafter = "insert_after", insertbefore = "insert_before",
    owner = "user",
  },
  name = function(options) return options.path end,
  check = function(options, report)
    if options.state == "present" and not options.line then report "line is missing" end
    if options.state == "absent" and not (options.line or options.pattern) then report "wants a line or a pattern" end
    if options.insert_after and options.insert_before then report "wants insert_after or insert_before, not both" end
  end,
  make = make,
  also = { edited = edited },
}
