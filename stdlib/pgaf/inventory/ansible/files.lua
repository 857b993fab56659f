-- Where Ansible looks for variables beside an inventory and a playbook: group_vars/, host_vars/, the roles' defaults.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local layers = require "pgaf.inventory.layers"
local suggest = require "pgaf.suggest"
local yaml_file = require "pgaf.inventory.yaml_file"

local files = {}

local EXTENSIONS = { "", ".yml", ".yaml", ".json" }
local READABLE = { [""] = true, yml = true, yaml = true, json = true }

local function stat_of(path)
  local found, info = pcall(function() return fs.stat(fs.realpath(path)) end)
  return found and info or nil
end

local function list_of(folder)
  local info = stat_of(folder)
  return info and info.type == "directory" and fs.list(folder) or {}
end

-- All files of a folder, those of its folders too, by name.
local function files_in(folder, list, depth)
  for _, name in ipairs(list_of(folder)) do
    local path = folder .. "/" .. name
    local info = stat_of(path)
    if name:find("^%.") or name:find("~$") or not info then
      goto continue
    elseif info.type == "directory" and depth < 10 then
      files_in(path, list, depth + 1)
    elseif info.type == "file" and READABLE[name:match("%.([^.]*)$") or ""] then
      list[#list + 1] = path
    end
    ::continue::
  end
  return list
end

-- As Ansible: the first that is there of NAME (folder or file), NAME.yml, NAME.yaml, NAME.json.
local function files_of(folder, name, note)
  local found
  for _, extension in ipairs(EXTENSIONS) do
    local path = folder .. "/" .. name .. extension
    local info = stat_of(path)
    if info and found then
      note("unmapped", path, 1, ("it is not read, because %s is there, as Ansible does it"):format(found[1] or name))
    elseif info and info.type == "directory" and extension == "" then
      found = files_in(path, {}, 0)
    elseif info and info.type == "file" then
      found = { path }
    end
  end
  return found or {}
end

---Variables of one file, as a source without rank and hosts; nil when it is empty or cannot be read (which is told).
---@param path string
---@param context pgaf.inventory.Context
---@return { path: string, vars: table<string, any>, place: fun(name: string): string, integer }?
local function read(path, context)
  local good, file = pcall(yaml_file.read, path, context.keys)
  if not good then
    if not error.is(file) or error.is(file, "cancelled") then _G.error(file, 0) end
    context.problems[#context.problems + 1] = {
      file = path, line = tonumber(tostring(file.message):match("^" .. path:gsub("%p", "%%%0") .. ":(%d+)")) or 1,
      message = (tostring(file.message):gsub("^" .. path:gsub("%p", "%%%0") .. ":%d+: ", "")), hint = file.hint,
      is_unread = true,
    }
    return nil
  end
  if file.value == nil then return nil end
  if not layers.is_map(file.value) then
    context.problems[#context.problems + 1] = { file = path, line = 1, message = "variables are a map: name: value" }
    return nil
  end
  for _, one in ipairs(file.secrets) do context.vaulted[#context.vaulted + 1] = one end
  local vars = {}
  for name, value in pairs(file.value) do vars[tostring(name)] = value end
  return { path = path, vars = vars, place = function(name) return path, file:line(file.value, name) end }
end

local function read_all(paths, context, list)
  for _, path in ipairs(paths) do list[#list + 1] = read(path, context) end
  return list
end

-- Names in group_vars/ and host_vars/ that nobody has.
local function note_strangers(folder, known, what, note)
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  for _, entry in ipairs(list_of(folder)) do
    local name = entry:gsub("%.ya?ml$", ""):gsub("%.json$", "")
    if not known[name] and not entry:find("^%.") and not entry:find("~$") then
      local near = suggest(name, names)
      note("unmapped", folder .. "/" .. entry, 1, ("there is no %s %q%s: nothing reads it"):format(what, name,
        near and (", did you mean %q?"):format(near) or ""))
    end
  end
end

---@class pgaf.ansible.Found
---@field from string
---@field rank integer
---@field group? string
---@field host? string
---@field file table what `read` returns

---Everything that is there for these groups and hosts.
---@param folders { inventory: string, playbook: string? }
---@param group_names string[] in the order in which they count, "all" among them
---@param host_names string[]
---@param context pgaf.inventory.Context
---@param note fun(kind: string, file: string, line: integer, message: string)
---@return pgaf.ansible.Found[]
function files.collect(folders, group_names, host_names, context, note)
  local found = {}
  local function add(list, from, rank, group, host)
    for _, file in ipairs(list) do
      found[#found + 1] = { from = from, rank = rank, group = group, host = host, file = file }
    end
  end
  local groups, hosts = {}, {}
  for _, name in ipairs(group_names) do groups[name] = true end
  for _, name in ipairs(host_names) do hosts[name] = true end
  for i, folder in ipairs { folders.inventory, folders.playbook } do
    for _, name in ipairs(group_names) do
      local rank = name == "all" and 3 + i or 19 + i
      add(read_all(files_of(folder .. "/group_vars", name, note), context, {}),
        name == "all" and "all" or "group " .. name, rank, name)
    end
    for _, name in ipairs(host_names) do
      add(read_all(files_of(folder .. "/host_vars", name, note), context, {}), "host " .. name, 30 + i, nil, name)
    end
    note_strangers(folder .. "/group_vars", groups, "group", note)
    note_strangers(folder .. "/host_vars", hosts, "host", note)
  end
  local roles = (folders.playbook or folders.inventory) .. "/roles"
  for _, role in ipairs(list_of(roles)) do
    for part, rank in pairs { defaults = 1, vars = 40 } do
      local folder = ("%s/%s/%s"):format(roles, role, part)
      add(read_all(files_of(folder, "main", note), context, {}), ("role %s's %s"):format(role, part), rank)
    end
  end
  return found
end

---The folder where the playbook lies, if it is not the inventory's: the one above, when it has what a playbook's has.
---@param folder string the inventory's
---@return string?
function files.playbook_folder(folder)
  local above = folder:match("^(.+)/[^/]+$") or (folder:find("^/") and "/" or folder == "." and ".." or ".")
  for _, name in ipairs { "ansible.cfg", "roles", "group_vars", "host_vars" } do
    if stat_of(above .. "/" .. name) then return above end
  end
  return nil
end

return files
