-- Runs postgres_ha, whole or in part, inside of another script: with its own lock and its own report.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local program = require "pgafrun.program"

local provision = {}

local function script_path(name)
  for _, root in ipairs(program.roots) do
    local path = ("%s/scripts/%s.lua"):format(root, name)
    if fs.stat(path) then return path end
  end
  return error.raise { kind = "missing", operation = "script " .. name, message = "it is not among pgafrun's scripts" }
end

-- What was said about the inventory is said again; which inventory it is, the program knows.
local function arguments_of(args)
  local list = {}
  for _, option in ipairs { "extra_vars", "vault_password_file", "vault_id" } do
    for _, value in ipairs(args[option] or {}) do
      list[#list + 1] = "--" .. option:gsub("_", "-")
      list[#list + 1] = value
    end
  end
  for _, flag in ipairs { "ask_vault_pass", "check", "diff", "json" } do
    if args[flag] then list[#list + 1] = "--" .. flag:gsub("_", "-") end
  end
  return list
end

---@param args table of the script that calls: what says which inventory, check, diff, json
---@param ... string further arguments: "--tags", "settings"
---@return integer exit_code
function provision.run(args, ...)
  local list = arguments_of(args)
  table.move({ ... }, 1, select("#", ...), #list + 1, list)
  local chunk = assert(loadfile(script_path "postgres_ha", "t"))
  return chunk(table.unpack(list))
end

---As run; a failure is raised.
---@param what string that it is a part of
---@param args table
---@param ... string
function provision.must(what, args, ...)
  local code = provision.run(args, ...)
  if code == 0 then return end
  error.raise {
    kind = "command", operation = what, code = tostring(code), message = "postgres_ha failed: see above",
    hint = "mend the cause and run the same again: it goes on from where it stopped",
  }
end

return provision
