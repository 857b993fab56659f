-- On which line of a Lua file each key of its tables stands, so that a wrong value can be shown where it was written.
--
-- Lua keeps no such thing at run time: the file is read a second time as text, far enough to follow table constructors.
-- A key is found by its path ("nodes[2].port"), and where the table was put together by code, by its name alone.

local source_lines = {}

-- Calls emit(kind, text, line) for each token: "name", "string" (its text where it is plain), "number", or a symbol.
local function tokens(text, emit)
  local at, line = 1, 1
  local _
  local function skip(last)
    local _, newlines = text:sub(at, last):gsub("\n", "")
    line, at = line + newlines, last + 1
  end
  local function long_bracket(from)
    local level = text:match("^%[(=*)%[", from)
    if not level then return nil end
    local _, last = text:find("]" .. level .. "]", from, true)
    return last or #text
  end
  while at <= #text do
    local c = text:sub(at, at)
    local last -- of this token
    if c:find("%s") then
      _, last = text:find("^%s+", at)
      skip(last)
    elseif text:find("^%-%-", at) then
      skip(long_bracket(at + 2) or (text:find("\n", at, true) or #text + 1) - 1)
    elseif c:find("[%a_]") then
      _, last = text:find("^[%w_]+", at)
      emit("name", text:sub(at, last), line)
      skip(last)
    elseif c:find("%d") then
      _, last = text:find("^[%w.]+", at)
      emit("number", text:sub(at, last), line)
      skip(last)
    elseif c == '"' or c == "'" then
      last = at + 1
      while last <= #text and text:sub(last, last) ~= c do
        last = last + (text:sub(last, last) == "\\" and 2 or 1)
      end
      emit("string", text:sub(at + 1, last - 1), line)
      skip(last)
    elseif long_bracket(at) then
      last = long_bracket(at)
      emit("string", "", line)
      skip(last)
    else
      emit(c, c, line)
      skip(at)
    end
  end
end

local function join(path, key)
  if math.type(key) then return ("%s[%d]"):format(path, key) end
  return path == "" and key or path .. "." .. key
end

local OPENS = { ["{"] = "}", ["("] = ")", ["["] = "]" }
local OPENING_WORDS = { ["function"] = true, ["if"] = true, ["do"] = true }

-- Follows one table constructor; i is the index after its "{". Returns the index after its "}".
local function constructor(list, i, path, lines)
  local position = 0
  while list[i] and list[i].kind ~= "}" do
    local token, key = list[i]
    if token.kind == "name" and list[i + 1] and list[i + 1].kind == "=" and
      not (list[i + 2] and list[i + 2].kind == "=") then
      key, i = token.text, i + 2
    elseif token.kind == "[" and list[i + 1] and list[i + 1].kind == "string" and list[i + 3] and
      list[i + 3].kind == "=" then
      key, i = list[i + 1].text, i + 4
    else
      position = position + 1
      key = position
    end
    local here = join(path, key)
    lines[here] = lines[here] or token.line
    if list[i] and list[i].kind == "{" then i = constructor(list, i + 1, here, lines) end
    -- the rest of the value, up to the comma that belongs to this table
    local depth = 0
    while list[i] do
      local kind, word = list[i].kind, list[i].text
      if depth == 0 and (kind == "," or kind == ";" or kind == "}") then break end
      if OPENS[kind] or (kind == "name" and OPENING_WORDS[word]) then depth = depth + 1 end
      if kind == "}" or kind == ")" or kind == "]" or (kind == "name" and word == "end") then depth = depth - 1 end
      i = i + 1
    end
    if list[i] and list[i].kind ~= "}" then i = i + 1 end
  end
  return i + 1
end

-- `return extend("base.lua", {`: the index of the "{" that begins the call's second argument.
local function second_argument(list, i)
  i = i + 1
  while list[i] and (list[i].kind == "name" or list[i].kind == ".") do i = i + 1 end
  if not list[i] or list[i].kind ~= "(" then return nil end
  local depth = 0
  for j = i + 1, #list do
    local kind = list[j].kind
    if depth == 0 and kind == "," then return list[j + 1] and list[j + 1].kind == "{" and j + 1 or nil end
    if OPENS[kind] then depth = depth + 1 end
    if kind == ")" or kind == "}" or kind == "]" then depth = depth - 1 end
    if depth < 0 then return nil end
  end
  return nil
end

---The words and signs of a Lua text, in order, without its comments.
---@param text string
---@return { kind: string, text: string, line: integer }[] kind: "name", "string", "number", or the sign itself
function source_lines.tokens(text)
  local list = {}
  tokens(text, function(kind, word, line) list[#list + 1] = { kind = kind, text = word, line = line } end)
  return list
end

---Reads a file's text.
---@param text string
---@return { paths: table<string, integer>, names: table<string, integer> } lines of the paths below `return { ... }`,
---and the first line of each key's name anywhere
function source_lines.read(text)
  local list = source_lines.tokens(text)
  local found = { paths = {}, names = {} }
  for i, token in ipairs(list) do
    if token.kind == "name" and list[i + 1] and list[i + 1].kind == "=" then
      found.names[token.text] = found.names[token.text] or token.line
    end
  end
  -- the file's own return is the last one that is not inside another's table
  local i = 1
  while list[i] do
    local returns = list[i].text == "return" and list[i].kind == "name"
    local opening = returns and (list[i + 1] and list[i + 1].kind == "{" and i + 1 or second_argument(list, i))
    if opening then
      found.paths = { [""] = list[i].line }
      i = constructor(list, opening + 1, "", found.paths)
    else
      i = i + 1
    end
  end
  return found
end

---The line of a path, or of its nearest known surroundings.
---@param lines table what read() returned
---@param path string "postgres.settings.work_mem"
---@return integer? line
function source_lines.find(lines, path)
  if lines.paths[path] then return lines.paths[path] end
  local name = path:match("([%w_]+)$")
  if name and lines.names[name] then return lines.names[name] end
  local parent = path:match("^(.*)[.%[].-$")
  if parent then return source_lines.find(lines, parent) end
  return lines.paths[""]
end

return source_lines
