-- Files that name the other nodes: written twice in a formation that is made from nothing, so that a node need not wait
-- for those that are still being launched. At first with the nodes that are there by then; in the end with all of them.

local access = require "pgaf.autofailover.access"
local block = require "pgaf.resources.block"
local file = require "pgaf.resources.file"

local HOSTS = "/etc/hosts"

local peers = { HOSTS = HOSTS }

-- The file as it shall be, given a function that tells its members.
local function hosts(members)
  return block {
    path = HOSTS,
    lines = function()
      local lines = {}
      for i, target in ipairs(members()) do
        lines[i] = ("%s %s %s"):format(target.node:address(), target.node.hostname, target.name)
      end
      return lines
    end,
  }
end

local function hba(formation, target, members)
  local render = target.role == "monitor" and access.monitor_hba or access.node_hba
  return file {
    path = target.paths.hba, user = formation.owner, content = function() return render(formation, members()) end,
    shown = true,
  }
end

-- While some are not there, what has been written before stays as it is: it may name them.
local function at_first(formation, path, is_written, make)
  local found
  -- the same for the look before and the one after it was written
  local function members()
    found = found or formation:there()
    return found
  end
  local resource = make(members)
  local probe = resource.probe
  function resource:probe(target, facts)
    target.complete[path] = #members() == #formation.targets
    if not target.complete[path] and is_written(facts) then return nil end
    return probe(self, target, facts)
  end
  return resource
end

---What differed when all members were there at first is told and mended then, and not a second time.
---@param path string of the file that it is about
---@param resource pgaf.Resource
---@return pgaf.Resource resource
function peers.in_the_end(path, resource)
  local probe = resource.probe
  function resource:probe(target, facts)
    if target.complete[path] then return nil end
    return probe(self, target, facts)
  end
  return resource
end

local function everybody(formation)
  return function() return formation.targets end
end

---Names and addresses of the nodes in /etc/hosts: neither fail-over nor health checks wait for a name server.
---@param formation pgaf.Formation
---@return fun(): pgaf.Resource
function peers.names(formation)
  return function() return hosts(everybody(formation)) end
end

---Those that are there by now.
---@param formation pgaf.Formation
---@return fun(): pgaf.Resource
function peers.first_names(formation)
  local function is_written(facts) return block.is_in(facts.content[HOSTS] or "") end
  return function()
    return at_first(formation, HOSTS, is_written, hosts)
  end
end

---pg_hba.conf.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function peers.access(formation)
  return function(target) return hba(formation, target, everybody(formation)) end
end

---It, for those that are there by now.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function peers.first_access(formation)
  return function(target)
    local function is_written(facts) return facts.file[target.paths.hba] end
    return at_first(formation, target.paths.hba, is_written, function(members)
      return hba(formation, target, members)
    end)
  end
end

return peers
