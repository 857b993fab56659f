-- Resources that change a part of a file that is otherwise not ours: the text is read, edited, compared. Owner and mode
-- stay as they are, unless they are given.

local files = require "pgaf.resource.files"

local edit = {}

---Inserts whole lines before the line that begins at `at` (a position in the text, or one beyond its end).
---@param text string
---@param at integer
---@param lines string with its line break
---@return string
function edit.insert(text, at, lines)
  local before = text:sub(1, at - 1)
  if before ~= "" and before:sub(-1) ~= "\n" then before = before .. "\n" end
  return before .. lines .. text:sub(at)
end

---The lines of a text, each with where it begins; a text without a last line break is as if it had one.
---@param text string
---@return fun(): integer?, string? at, line without its break
function edit.lines(text)
  local at = 1
  return function()
    if at > #text then return nil end
    local from, to = at, text:find("\n", at, true) or #text + 1
    at = to + 1
    return from, text:sub(from, to - 1)
  end
end

---@class pgaf.resource.Edit
---@field path string
---@field create? boolean the file is made when it is not there
---@field mode? string
---@field user? string
---@field group? string
---@field difference fun(existed: boolean): string told when the text is not as wanted
---@field done string what was done then
---@field wanted fun(text: string, target: pgaf.Target): string the text as it shall be; changes nothing that is right

---@param options pgaf.resource.Edit
---@return pgaf.Resource
function edit.new(options)
  local path = options.path
  local made = { reads = { { "content", path }, { "file", path } } }

  local function now(facts)
    local file, content = facts.file[path], facts.content[path]
    if content then return content, true end
    if file then
      files.refuse(made, ("%s is a %s, or cannot be read"):format(path, file.type))
    end
    return "", false
  end

  function made:probe(target, facts)
    local text, exists = now(facts)
    local wanted = options.wanted(text, target)
    if wanted ~= text then
      if not exists and not options.create then
        files.refuse(self, path .. " is not there", "create = true makes it, or let the step need what brings it")
      end
      return options.difference(exists)
    end
    -- what is not there and needs no text may stay away
    local file = facts.file[path]
    if not exists or file.type ~= "file" or not (options.mode or options.user or options.group) then return nil end
    return files.ownership_difference(file, options, { node = { user = file.user } })
  end

  function made:changes(target, facts)
    local text, exists = now(facts)
    local wanted = options.wanted(text, target)
    if wanted == text then
      local file = facts.file[path]
      return files.changes(target, facts, {
        path = path, mode = options.mode, user = options.user or file.user, group = options.group,
      }, text)
    end
    return { { what = path, before = exists and text or nil, after = wanted } }
  end

  function made:apply(target, _, facts)
    local text, exists = now(facts)
    local file = exists and facts.file[path] or {}
    local link = file.type == "link"
    target.node:push(link and target.node:run("readlink -f -- " .. require "pgaf.quote".sh(path)).stdout:match "[^\n]+"
      or path, options.wanted(text, target), {
        mode = options.mode or (not link and file.mode) or "0644",
        user = options.user or (not link and file.user) or target.node.user or "root",
        group = options.group or (not link and file.group) or nil,
      })
    return options.done
  end

  return made
end

return edit
