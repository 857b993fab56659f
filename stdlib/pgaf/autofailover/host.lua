-- What a node is before any PostgreSQL runs on it: an instance, folders, a supervised service.

local directory = require "pgaf.resources.directory"
local file = require "pgaf.resources.file"
local time = require "pgafrun.time"

local host = {}

---The instance, as the provider makes it; running and ready.
---@return pgaf.Resource
function host.instance()
  return {
    kind = "instance",
    probe = function(_, target) return (target.node:difference()) end,
    changes = function(_, target) return select(2, target.node:difference()) end,
    ensure = function(_, target, _, difference)
      if not difference then
        target.node:wait_until_ready()
        return nil
      end
      local changed, what = target.node:launch()
      if not changed then return nil end
      target.begun_at = time.now()
      return what
    end,
  }
end

---The folders of PostgreSQL's user.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function host.folders(formation)
  return function(target)
    local paths = target.paths
    return directory {
      paths = { paths.base, paths.pg, paths.tls, paths.home, paths.run, paths.config, paths.share },
      user = formation.owner,
    }
  end
end

---pg_autoctl's service: installed and enabled. It is started when there is something to run.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function host.service(formation)
  return function(member)
    local options = {
      description = ("pg_auto_failover %s of formation %s"):format(
        member.role == "monitor" and "monitor" or "data node", formation.name),
      monitor = member.role == "monitor",
    }
    local service = member.node:service()
    local files = {}
    for i, description in ipairs(service.files and service:files(options) or {}) do files[i] = file(description) end
    local resource = { kind = "service", name = "pg_autoctl", reads = { { "service", "status" } } }
    for _, one in ipairs(files) do table.move(one.reads, 1, #one.reads, #resource.reads + 1, resource.reads) end

    function resource:probe(target, facts)
      for _, one in ipairs(files) do
        local difference = one:probe(target, facts)
        if difference then return difference end
      end
      return not facts.service.status.ready and "it is not installed and enabled" or nil
    end

    function resource:changes(target, facts)
      local changes = {}
      for _, one in ipairs(files) do
        local differs = one.changes and one:probe(target, facts)
        local list = differs and one:changes(target, facts) or {}
        table.move(list, 1, #list, #changes + 1, changes)
      end
      if not facts.service.status.ready then
        changes[#changes + 1] = {
          what = "service pg_autoctl", before = "not installed and enabled as it is on disk",
          after = "installed and enabled",
        }
      end
      return changes
    end

    function resource:apply(target)
      target.node:service():install(options)
      return "installed and enabled it"
    end

    return resource
  end
end

return host
