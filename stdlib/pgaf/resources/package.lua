-- Packages of the distribution, installed by apt; a pinned one in just that version.

local quote = require "pgaf.quote"

local INSTALL_SECONDS = 1800

---@param options { names: string[], versions?: table<string, string> }
---@return pgaf.Resource
return function(options)
  local versions = options.versions or {}
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  for _, name in ipairs(options.names) do add(name) end
  for name in pairs(versions) do add(name) end
  table.sort(names)
  local resource = { reads = {} }
  for i, name in ipairs(names) do resource.reads[i] = { "package", name } end

  local function wanted(facts)
    local list = {}
    for _, name in ipairs(names) do
      local now = facts.package[name]
      if not now then
        list[#list + 1] = versions[name] and name .. "=" .. versions[name] or name
      elseif versions[name] and now ~= versions[name] then
        list[#list + 1] = name .. "=" .. versions[name]
      end
    end
    return list
  end

  function resource:probe(_, facts)
    local list = wanted(facts)
    return #list > 0 and "to install: " .. table.concat(list, " ") or nil
  end

  -- The lists are fetched first: an image's own are as old as the image. An installation that was killed half-way is
  -- finished before it is tried again.
  function resource:apply(target, _, facts)
    local list = wanted(facts)
    -- a process of its own: the node's open shell stays free for other steps
    target.node:exec {
      "sh", "-c", ([[
apt='apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0'
install() { $apt -y --no-install-recommends --allow-downgrades install %s >/dev/null; }
$apt update >/dev/null || exit
install || { [ -n "$(dpkg --audit)" ] && dpkg --configure -a >/dev/null && install; }]]):format(quote.sh_list(list)),
      env = { DEBIAN_FRONTEND = "noninteractive", LC_ALL = "C.UTF-8" }, timeout = INSTALL_SECONDS,
    }
    return "installed " .. table.concat(list, " ")
  end

  return resource
end
