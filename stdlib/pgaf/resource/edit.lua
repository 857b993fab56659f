-- Resources that change a part of a file that is otherwise not ours: the text is read, edited, compared. Owner and mode
-- stay as they are, unless they are given.

local files = require "pgaf.resource.files"
local quote = require "pgaf.quote"

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

---Where a block of lines of ours is, from its first mark to its last, which are lines of their own.
---@param text string
---@param first_mark string without its line break
---@param last_mark string
---@return integer? from nil: there is none
---@return integer? to with the last line break
---@return string? problem there is a mark without the other: where the block ends, nobody can tell
function edit.between(text, first_mark, last_mark)
  local from, to, number, opened = nil, nil, 0, nil
  for at, line in edit.lines(text) do
    number = number + 1
    if line == first_mark and from then
      return nil, nil, ("line %d, %q, begins a block that line %d began"):format(number, line, opened)
    elseif line == first_mark then
      from, opened = at, number
    elseif line == last_mark and (not from or to) then
      return nil, nil, ("line %d, %q, ends a block that no line began"):format(number, line)
    elseif line == last_mark then
      to = math.min(at + #line, #text)
    end
  end
  if from and not to then
    return nil, nil, ("line %d, %q, begins a block that no line %q ends"):format(opened, first_mark, last_mark)
  end
  return from, to
end

---What is to be done about marks that do not fit together.
edit.MEND_MARKS = "put the missing mark where the block ends or begins, or take the mark that is too many away"

---@class pgaf.resource.Edit
---@field path string
---@field create? boolean the file is made when it is not there
---@field mode? string
---@field user? string
---@field group? string
---@field shown? boolean
---@field difference fun(existed: boolean): string told when the text is not as wanted
---@field done string what was done then
---@field wanted fun(text: string, target: pgaf.Target, refuse: fun(message: string, hint?: string)): string, boolean?
---  the text as it shall be, and whether a secret was put there; changes nothing that is right

---@param options pgaf.resource.Edit
---@return pgaf.Resource
function edit.new(options)
  local path = options.path
  local made = { reads = { { "content", path }, { "stat", path } } }

  local function refuse(message, hint) files.refuse(made, message, hint) end

  -- The text, and the file: behind a link, the one it points to. No file: it is not there.
  local function now(facts)
    local file, content = facts.stat[path], facts.content[path]
    if not file then return "", nil end
    local is_link = file.type == "link"
    if is_link then file = file.to end
    if not file then refuse(path .. " is a link to what is not there") end
    if not content then refuse(("%s is a %s, or cannot be read"):format(path, file.type)) end
    -- a shell read it
    if #content < file.size then
      refuse(path .. " has bytes of value 0, or changes just now: it is no text whose lines can be edited")
    end
    return content, file, is_link
  end

  local function wanted(text, target) return options.wanted(text, target, refuse) end

  function made:probe(target, facts)
    local text, file = now(facts)
    if wanted(text, target) ~= text then
      if not file and not options.create then
        refuse(path .. " is not there", "create = true makes it, or let the step need what brings it")
      end
      return options.difference(file ~= nil)
    end
    -- what is not there and needs no text may stay away
    return file and files.ownership_difference(file, path, options)
  end

  function made:changes(target, facts)
    local text, file = now(facts)
    local after, is_secret = wanted(text, target)
    local list = file and files.ownership_changes(file, path, options) or {}
    if after ~= text then
      local is_private = files.is_private(file, options)
      table.insert(list, 1, files.content_change(path, file and text or nil, after, is_private, is_secret))
    end
    return list
  end

  function made:apply(target, _, facts)
    local text, file, is_link = now(facts)
    local after, is_secret = wanted(text, target)
    local real = is_link and target.node:run("readlink -f -- " .. quote.sh(path)).stdout:match "[^\n]+" or path
    target.node:push(real, after, {
      mode = options.mode or file and file.mode or is_secret and "0600" or "0644",
      user = options.user or file and file.user or target.node.user or "root",
      group = options.group or file and file.group or nil,
    })
    return options.done
  end

  return made
end

return edit
