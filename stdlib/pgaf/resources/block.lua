-- Some lines of a file that is otherwise not ours, between two marks.

local BEGIN, END = "# begin pgafrun", "# end pgafrun"

local function split(text)
  local first = text:find(BEGIN, 1, true)
  local _, last = text:find(END .. "\n?", first or 1)
  if not first or not last then return text, nil, "" end
  return text:sub(1, first - 1), text:sub(first, last), text:sub(last + 1)
end

---@param options { path: string, lines: fun(target: pgaf.Target): string[], mode?: string, user?: string }
---@return pgaf.Resource
return function(options)
  local path = options.path
  local resource = { reads = { { "content", path } } }

  local function block(target)
    return ("%s\n%s\n%s\n"):format(BEGIN, table.concat(options.lines(target), "\n"), END)
  end

  function resource:probe(target, facts)
    local _, now = split(facts.content[path] or "")
    if now == block(target) then return nil end
    return now and ("the block in %s differs"):format(path) or ("%s has no block of ours"):format(path)
  end

  function resource:apply(target, _, facts)
    local before, _, after = split(facts.content[path] or "")
    if before ~= "" and before:sub(-1) ~= "\n" then before = before .. "\n" end
    target.node:push(path, before .. block(target) .. after,
      { mode = options.mode or "0644", user = options.user or "root" })
    return "wrote the block in " .. path
  end

  return resource
end
