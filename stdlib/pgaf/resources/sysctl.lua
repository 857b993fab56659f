-- Settings of the kernel: now, and after a boot.
--
--     resource.sysctl { file = "60-postgres", values = { ["vm.overcommit_memory"] = 2, ["vm.swappiness"] = 1 } }
--
-- In a container most of them are the host's: they can be read there and not be written. With `runtime = false` only
-- the file is written.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local files = require "pgaf.resource.files"
local parameter = require "pgaf.resource.parameter"
local quote = require "pgaf.quote"
local resource = require "pgaf.resource"
local schema = require "pgaf.schema"
local system = require "pgaf.facts.system"

---@class pgaf.SysctlOptions
---@field values? table<string, string|integer> "vm.swappiness" -> 10; several numbers as one text: "4096 87380 6291456"
---@field file? string of /etc/sysctl.d, without ".conf", default "60-pgafrun"; it is written whole
---@field runtime? boolean also in the running kernel, default true
---@field state? "present"|"absent" default "present"; "absent" removes the file, and leaves the running kernel alone

local function refuse(made, target, assignment, code, why, hint)
  error.raise {
    kind = "system", operation = ("sysctl %s on %s"):format(made.name, target.name), code = code,
    message = ("%s: %s"):format(assignment, why), hint = hint,
  }
end

local function write(made, target, key, value)
  local result = target.node:run(("printf '%%s\\n' %s >%s"):format(quote.sh(value), quote.sh(system.sysctl_path(key))),
    { check = false })
  if result.code == 0 then return end
  refuse(made, target, ("%s = %s"):format(key, value), tostring(result.code),
    "the kernel refuses it: " .. (result.stderr:match "[^\n]+" or "status " .. result.code))
end

local function make(options)
  local path, absent = ("/etc/sysctl.d/%s.conf"):format(options.file), options.state == "absent"
  local keys, values, lines = {}, {}, { "# Written by pgafrun: changes by hand are lost." }
  for key, value in pairs(options.values or {}) do
    keys[#keys + 1] = key
    values[key] = tostring(value):gsub("%s+", " "):match "^ ?(.-) ?$"
  end
  table.sort(keys)
  for _, key in ipairs(keys) do lines[#lines + 1] = ("%s = %s"):format(key, values[key]) end
  local text = table.concat(lines, "\n") .. "\n"
  local file = { path = path, mode = "0644", user = "root" }
  local made = { reads = { { "file", path } } }
  if options.runtime and not absent then
    for _, key in ipairs(keys) do table.insert(made.reads, { "sysctl", key }) end
  end

  local function differing(facts)
    local list = {}
    if absent or not options.runtime then return list end
    for _, key in ipairs(keys) do
      if not facts.sysctl[key] or facts.sysctl[key].value ~= values[key] then list[#list + 1] = key end
    end
    return list
  end

  -- What cannot be made so is told before anything is.
  local function check_writable(target, key, now)
    local assignment = ("%s = %s"):format(key, values[key])
    if not now then refuse(made, target, assignment, "ENOENT", "there is no such setting here") end
    if not now.writable then
      refuse(made, target, assignment, "EROFS", "it cannot be written here: it belongs to the kernel of the host",
        "set it on the host; `runtime = false` writes only the file")
    end
  end

  local function file_difference(target, facts)
    if absent then return facts.file[path] and path .. " is there" or nil end
    return files.difference(facts.file[path], file, target, function() return crypto.sha256(text) end)
  end

  function made:probe(target, facts)
    local parts = { file_difference(target, facts) }
    for _, key in ipairs(differing(facts)) do
      local now = facts.sysctl[key]
      check_writable(target, key, now)
      parts[#parts + 1] = now.value ~= "" and ("%s is %s, not %s"):format(key, now.value, values[key])
        or key .. " cannot be read"
    end
    return #parts > 0 and table.concat(parts, ", ") or nil
  end

  function made:changes(target, facts)
    if absent then return { files.change(target, facts, path, nil) } end
    local list = file_difference(target, facts) and files.changes(target, facts, file, text) or {}
    for _, key in ipairs(differing(facts)) do
      list[#list + 1] = { what = key, before = facts.sysctl[key].value, after = values[key] }
    end
    return list
  end

  function made:apply(target, _, facts)
    if absent then
      target.node:run("rm -f -- " .. quote.sh(path))
      return "removed " .. path
    end
    local list = differing(facts)
    for _, key in ipairs(list) do write(self, target, key, values[key]) end
    target.node:run "install -d -m 0755 /etc/sysctl.d"
    target.node:push(path, text, { mode = "0644", user = "root" })
    return #list > 0 and "set " .. table.concat(list, ", ") or "wrote " .. path
  end

  return made
end

return resource.define {
  kind = "sysctl",
  parameters = {
    values = {
      schema.map(schema.text { pattern = "[%w_./-]+", what = 'a setting: "vm.swappiness"' },
        schema.either("a text or a whole number", schema.integer(math.mininteger, math.maxinteger), parameter.line)),
    },
    file = { schema.text { pattern = "[%w_.-]+", what = "a name of letters, digits, . _ -" }, default = "60-pgafrun" },
    runtime = { schema.boolean(), default = true },
    state = { parameter.state(), default = "present" },
  },
  words = { name = "values", value = "values", sysctl_file = "file", sysctl_set = "runtime", reload = "runtime" },
  name = function(options) return options.file end,
  check = function(options, report)
    if options.state == "present" and not (options.values and next(options.values)) then report "values is missing" end
  end,
  make = make,
}
