-- Directories of one owner and mode.

local quote = require "pgaf.quote"

---@param options { paths: string[], mode?: string, user?: string }
---@return pgaf.Resource
return function(options)
  local mode, user = options.mode or "0700", options.user or "root"
  local resource = { reads = {} }
  for i, path in ipairs(options.paths) do resource.reads[i] = { "file", path } end

  local function differing(facts)
    local list = {}
    for _, path in ipairs(options.paths) do
      local now = facts.file[path]
      if not now or now.type ~= "directory" or now.mode ~= mode or now.user ~= user then list[#list + 1] = path end
    end
    return list
  end

  function resource:probe(_, facts)
    local list = differing(facts)
    return #list > 0 and table.concat(list, " ") .. " missing, or of another mode or owner" or nil
  end

  function resource:apply(target, _, facts)
    local list = differing(facts)
    target.node:run(("install -d -m %s -o %s -g %s -- %s"):format(
      mode, quote.sh(user), ('"$(id -gn %s)"'):format(quote.sh(user)), quote.sh_list(list)))
    return #list == 1 and "made " .. list[1] or ("made %d folders in %s"):format(#list, list[1]:match("^(.*)/"))
  end

  return resource
end
