-- A file with this content, mode and owner.

---@param options { path: string, content: string|fun(target: pgaf.Target): string, mode?: string, user?: string }
---@return pgaf.Resource
return function(options)
  local path, mode, user = options.path, options.mode or "0600", options.user or "root"
  local crypto = require "pgafrun.crypto"
  local resource = { reads = { { "file", path } } }

  local function content(target)
    local text = options.content
    return type(text) == "function" and text(target) or text
  end

  function resource:probe(target, facts)
    local now = facts.file[path]
    if not now then return path .. " is missing" end
    if now.type ~= "file" then return ("%s is a %s"):format(path, now.type) end
    if now.sha256 ~= crypto.sha256(content(target)) then return path .. " differs" end
    if now.mode ~= mode then return ("%s has mode %s, not %s"):format(path, now.mode, mode) end
    if now.user ~= user then return ("%s belongs to %s, not %s"):format(path, now.user, user) end
    return nil
  end

  function resource:apply(target)
    target.node:push(path, content(target), { mode = mode, user = user })
    return "wrote " .. path:match("[^/]+$")
  end

  return resource
end
