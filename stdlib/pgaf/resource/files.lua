-- What resources that write files have in common: how they differ, what --diff shows, where local files are found.

local crypto = require "pgafrun.crypto"
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

---The group that is wanted: the owner's own, where nothing else is said. nil where that is not known.
---@param user string the owner
---@param options { group?: string }
---@param facts? pgaf.Snapshot
---@return string?
function files.group_of(user, options, facts)
  if options.group or not facts then return options.group end
  if user == "root" then return "root" end
  local known = facts.user and facts.user[user]
  return known and known.groups[1] or nil
end

---Owner and mode as node:push wants them. On a machine of our own, a file of ours has the group that the machine gives.
---@param options { mode?: string, user?: string, group?: string }
---@param target pgaf.Target
---@param facts? pgaf.Snapshot with the owner, whose own group is wanted where options have none
---@return { mode: string, user: string, group: string? }
function files.ownership(options, target, facts)
  local wanted = { mode = options.mode, user = options.user or target.node.user or "root", group = options.group }
  if wanted.user ~= target.node.user then wanted.group = files.group_of(wanted.user, options, facts) end
  return wanted
end

---The facts that tell whether a file is as wanted.
---@param options { path: string, user?: string, group?: string }
---@param kind? "file"|"stat" default "file"
---@return pgaf.facts.Request[]
function files.reads(options, kind)
  local reads = { { kind or "file", options.path } }
  if options.user and not options.group then reads[2] = { "user", options.user } end
  return reads
end

---How a file differs from the wanted one, in one line; nil when it does not.
---@param now pgaf.facts.File|false
---@param options { path: string, mode?: string, user?: string, group?: string }
---@param target pgaf.Target
---@param digest fun(): string of the wanted content
---@param facts? pgaf.Snapshot as of files.ownership
---@return string?
function files.difference(now, options, target, digest, facts)
  local path = options.path
  if not now then return path .. " is missing" end
  if now.type ~= "file" then return ("%s is a %s"):format(path, now.type) end
  if now.sha256 ~= digest() then return path .. " differs" end
  return files.ownership_difference(now, path, files.ownership(options, target, facts))
end

---@param now pgaf.facts.File
---@param path string
---@param wanted { mode?: string, user?: string, group?: string }
---@return string?
function files.ownership_difference(now, path, wanted)
  if wanted.mode and now.mode ~= wanted.mode then
    return ("%s has mode %s, not %s"):format(path, now.mode, wanted.mode)
  end
  if wanted.user and now.user ~= wanted.user then
    return ("%s belongs to %s, not %s"):format(path, now.user, wanted.user)
  end
  if wanted.group and now.group ~= wanted.group then
    return ("%s is of group %s, not %s"):format(path, now.group, wanted.group)
  end
  return nil
end

---The same as changes.
---@param now pgaf.facts.File
---@param path string
---@param wanted { mode?: string, user?: string, group?: string }
---@return pgaf.Change[]
function files.ownership_changes(now, path, wanted)
  local list = {}
  for _, key in ipairs { "mode", "user", "group" } do
    if wanted[key] and now[key] ~= wanted[key] then
      list[#list + 1] = { what = ("%s: %s"):format(path, key), before = now[key], after = wanted[key] }
    end
  end
  return list
end

local function is_closed(mode) return mode ~= nil and not mode:find "[4-7]$" end

---Whether --diff keeps a content to itself: what not everybody may read is not for a terminal or a log either.
---@param now pgaf.facts.File|false|nil
---@param options { mode?: string, shown?: boolean }
---@return boolean
function files.is_private(now, options)
  if options.shown ~= nil then return not options.shown end
  return is_closed(options.mode) or now and is_closed(now.mode) or false
end

---A change of a content that differs, as --diff shows it. What is private, large, or no text, is told by its size.
---@param path string
---@param before string|integer|nil the text, or its size; nil: it was not there
---@param after string|nil nil: it goes
---@param is_private boolean
---@param is_secret? boolean
---@return pgaf.Change
function files.content_change(path, before, after, is_private, is_secret)
  local function shown(value)
    if not value or is_secret and type(value) == "string" then return value end
    local is_plain = type(value) == "string" and #value <= MAX_SHOWN and not value:find("\0", 1, true)
    if is_plain and not is_private then return value end
    return ("(%d bytes, %s)"):format(type(value) == "string" and #value or value,
      is_private and "not for everybody to read" or "not shown")
  end
  local now, wanted = shown(before), shown(after)
  if now and now == wanted then wanted = wanted:gsub("bytes", "other bytes", 1) end
  return { what = path, before = now, after = wanted, secret = is_secret or nil }
end

---A change of a file's content. What is there is read from the node, if it may be shown.
---@param target pgaf.Target
---@param facts pgaf.Snapshot
---@param path string
---@param after? string nil: it goes
---@param is_secret? boolean
---@param options? { mode?: string, shown?: boolean } of the file as it shall be
---@return pgaf.Change
function files.change(target, facts, path, after, is_secret, options)
  local now = facts.file[path] or facts.stat and facts.stat[path]
  local is_private, before = files.is_private(now, options or {}), nil
  if now and now.type ~= "file" then
    before, is_private = ("(a %s)"):format(now.type), files.is_private(nil, options or {})
  elseif now then
    before = now.size
    if not before or before <= MAX_SHOWN and (is_secret or not is_private) then before = target.node:pull(path) end
  end
  return files.content_change(path, before, after, is_private, is_secret)
end

---All changes of a file: content, mode, owner.
---@param target pgaf.Target
---@param facts pgaf.Snapshot
---@param options { path: string, mode?: string, user?: string, group?: string, shown?: boolean }
---@param text string
---@param is_secret? boolean
---@return pgaf.Change[]
function files.changes(target, facts, options, text, is_secret)
  local path, now = options.path, facts.file[options.path]
  local list = now and now.type == "file" and
    files.ownership_changes(now, path, files.ownership(options, target, facts)) or {}
  if not now or now.sha256 ~= crypto.sha256(text) then
    table.insert(list, 1, files.change(target, facts, path, text, is_secret, options))
  end
  return list
end

return files
