-- What systemd takes for a unit: the kinds there are, and the form of a unit's file.

local schema = require "pgaf.schema"

local units = {}

local KINDS = {}
for kind in ("service socket timer target path mount automount swap slice scope device"):gmatch "%a+" do
  KINDS[kind] = true
end

---Whether a name says what kind of unit it is of. "org.example.app" does not: its service does.
---@param name string
---@return boolean
function units.has_kind(name) return KINDS[name:match "%.(%l+)$" or ""] or false end

local text = schema.text {
  pattern = "[%w:_.\\@-]+%.%l+", what = 'the name of a unit with its kind: "app.service"', max = 255,
}

---A unit's name, its kind among systemd's.
---@type pgaf.schema.Type
function units.name(value, path, report)
  local wrong = false
  text(value, path, function(...)
    wrong = true
    report(...)
  end)
  if not wrong and not units.has_kind(value) then
    report(path, ("wants a unit of a kind that systemd has (service, timer, socket, mount, ...), not %q"):format(value))
  end
  return value
end

---What systemd would not read in a unit's file, or pass over with no more than a line in its log; nil when there is
---nothing. What a setting may be called, and be, is systemd's to say.
---@param content string
---@return string? problem "line 1: ..."
---@return string? line that has it
function units.problem_of(content)
  local number, section, goes_on = 0, false, false
  for line in (content .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local is_remark = line:find "^%s*[#;]" or not line:find "%S"
    local problem
    if goes_on or is_remark then -- a part of the line above, or nothing
      problem = nil
    elseif line:find "^%s*%[" then
      section = true
      if not line:find "^%s*%[[^%[%]]+%]%s*$" then problem = "this is no [Section]" end
    elseif not line:find "^%s*[^=%s][^=]*=" then
      problem = "this is neither a [Section] nor a setting: Name=value"
    elseif not section then
      problem = "a setting before the first [Section]"
    end
    if problem then return ("line %d: %s"):format(number, problem), line end
    -- a remark in between ends nothing
    if not (goes_on and line:find "^%s*[#;]") then goes_on = not is_remark and line:find "\\$" ~= nil end
  end
  return nil
end

return units
