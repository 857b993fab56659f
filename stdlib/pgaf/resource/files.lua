-- What resources that write files have in common: how they differ, what --diff shows, where local files are found.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local program = require "pgafrun.program"

local files = {}

-- What is larger, or no text, is told by its size.
local MAX_SHOWN = 256 * 1024

---The path of a file on this machine; a relative one is beside the script.
---@param name string
---@return string
function files.local_path(name)
  if name:find "^/" then return name end
  if name:find "^~/" then return (require "pgafrun.process".getenv "HOME" or "~") .. name:sub(2) end
  local folder = program.script and program.script:match "^(.*)/[^/]*$" or "."
  return folder .. "/" .. name
end

---What is wrong with a file of this machine that a resource names; nil when it is there, or cannot be looked at yet.
---@param name string
---@return string?
function files.problem_with(name)
  local path = files.local_path(name)
  local ok, found = pcall(fs.stat, path)
  if ok and not found then return ("%s is not there on this machine"):format(path) end
  return nil
end

---@param name string
---@param made pgaf.Resource for the error
---@return string
function files.read_source(name, made)
  local path = files.local_path(name)
  local ok, text = pcall(fs.read, path)
  if ok then return text end
  return error.raise {
    kind = "file", operation = ("%s %s"):format(made.kind, made.name), code = text.code, cause = text,
    message = ("%s cannot be read on this machine"):format(path),
    hint = "a relative name is looked up beside the script",
  }
end

---Raises that a resource cannot do what is asked.
---@param made pgaf.Resource
---@param message string
---@param hint? string
function files.refuse(made, message, hint)
  error.raise { kind = "config", operation = ("%s %s"):format(made.kind, made.name), message = message, hint = hint }
end

---Owner and mode as node:push wants them.
---@param options { mode?: string, user?: string, group?: string }
---@param target pgaf.Target
---@return { mode: string, user: string, group: string? }
function files.ownership(options, target)
  return { mode = options.mode, user = options.user or target.node.user or "root", group = options.group }
end

---How a file differs from the wanted one, in one line; nil when it does not.
---@param now table|false the fact
---@param options { path: string, mode?: string, user?: string, group?: string }
---@param target pgaf.Target
---@param digest fun(): string of the wanted content
---@return string?
function files.difference(now, options, target, digest)
  local path = options.path
  if not now then return path .. " is missing" end
  if now.type ~= "file" then return ("%s is a %s"):format(path, now.type) end
  if now.sha256 ~= digest() then return path .. " differs" end
  return files.ownership_difference(now, options, target)
end

---@param now table the fact
---@param options { path: string, mode?: string, user?: string, group?: string }
---@param target pgaf.Target
---@return string?
function files.ownership_difference(now, options, target)
  local path, user = options.path, options.user or target.node.user or "root"
  if options.mode and now.mode ~= options.mode then
    return ("%s has mode %s, not %s"):format(path, now.mode, options.mode)
  end
  if now.user ~= user then return ("%s belongs to %s, not %s"):format(path, now.user, user) end
  if options.group and now.group ~= options.group then
    return ("%s is of group %s, not %s"):format(path, now.group, options.group)
  end
  return nil
end

local function shown(text)
  if not text then return nil end
  if #text > MAX_SHOWN or text:find("\0", 1, true) then return ("(%d bytes that are not shown)\n"):format(#text) end
  return text
end

---A change of a file's content, as --diff shows it. What is there is read from the node.
---@param target pgaf.Target
---@param facts pgaf.Snapshot
---@param path string
---@param after? string nil: it goes
---@param is_secret? boolean
---@return pgaf.Change
function files.change(target, facts, path, after, is_secret)
  local now = facts.file[path]
  local before
  if now and now.type == "file" then before = target.node:pull(path) end
  -- what goes, and what is not for everybody to read, may be anything
  if not after and now and not now.mode:find "[4-7]$" then is_secret = true end
  return { what = path, before = shown(before), after = shown(after), secret = is_secret or nil }
end

---All changes of a file: content, mode, owner.
---@param target pgaf.Target
---@param facts pgaf.Snapshot
---@param options { path: string, mode?: string, user?: string, group?: string }
---@param text string
---@param is_secret? boolean
---@return pgaf.Change[]
function files.changes(target, facts, options, text, is_secret)
  local path, now, list = options.path, facts.file[options.path], {}
  local content = files.change(target, facts, path, text, is_secret)
  if content.before ~= content.after then list[1] = content end
  if not now then return list end
  local wanted = files.ownership(options, target)
  for _, key in ipairs { "mode", "user", "group" } do
    if wanted[key] and now[key] ~= wanted[key] then
      list[#list + 1] = { what = ("%s: %s"):format(path, key), before = now[key], after = wanted[key] }
    end
  end
  return list
end

return files
