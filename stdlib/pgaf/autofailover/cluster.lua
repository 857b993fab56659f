-- A database cluster that is complete before it is ever started: initdb by us, then its roles and its database by
-- `postgres --single`, and only then its name. So no server ever runs with initdb's defaults, and "PGDATA is there"
-- means "prepared completely": what was killed half-way is under another name, and thrown away.

local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local quote = require "pgaf.quote"
local roles = require "pgaf.autofailover.roles"

local cluster = {}

-- LANG is in the environment: without it the databases would be SQL_ASCII.
local INITDB = [[
set -e
rm -rf %s
initdb -D %s --data-checksums --auth-local=peer --auth-host=reject --encoding=UTF8 --locale=C.UTF-8 >/dev/null
echo "include_if_exists = '../node.conf'" >>%s/postgresql.conf]]

-- One statement a line, on stdin; the first that fails ends it, with a status that tells.
local SINGLE = [[postgres --single -c exit_on_error=on -c log_min_error_statement=panic -D %s %s >/dev/null]]

---Makes the cluster of a node that has none.
---@param formation pgaf.Formation
---@param target pgaf.Member
function cluster.make(formation, target)
  local data = quote.sh(target.paths.pgdata)
  local new = quote.sh(target.paths.pgdata .. ".new")
  formations.clear_leftovers(target) -- an initdb whose pgafrun was killed goes on
  formations.run(target, INITDB:format(new, new, new), { timeout = 120 })
  for _, part in ipairs(roles.offline(formation, target.role)) do
    formations.run(target, SINGLE:format(new, quote.sh(part.database)),
      { stdin = table.concat(part.statements, "\n") .. "\n", timeout = 60 })
  end
  formations.run(target, ("sync %s/postgresql.conf %s && mv -T %s %s"):format(new, new, new, data))
end

local function version_file(target) return target.paths.pgdata .. "/PG_VERSION" end

---Its presence says that there is a cluster.
---@param target pgaf.Member
---@return pgaf.facts.Request
function cluster.fact(target) return { "content", version_file(target) } end

---A cluster of another major version than the inventory's cannot be run.
---@param formation pgaf.Formation
---@param target pgaf.Member
---@param facts pgaf.Snapshot
local function check_version(formation, target, facts)
  local version = math.tointeger(tonumber((facts.content[version_file(target)]:match("%d+"))))
  local wanted = formation.inventory.postgres.version
  if version == wanted or formation.provider.kind == "local" then return end
  error.raise {
    kind = "config", operation = "cluster on " .. target.name,
    message = ("%s is a cluster of PostgreSQL %d, and the inventory says %d"):format(
      target.paths.pgdata, version, wanted),
    hint = "a major upgrade is no converging: correct postgres.version",
  }
end

---The monitor's cluster, and in a formation that is made from nothing the first data node's. Any other data node gets a
---copy of the primary's when it joins.
---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource
function cluster.offline(formation)
  return function(member)
    local resource = { kind = "cluster", name = member.paths.pgdata, reads = { cluster.fact(member) } }

    function resource:probe(target, facts)
      if facts.content[version_file(target)] then
        check_version(formation, target, facts)
        return nil
      end
      if target.role == "node" and formation.from_nothing == nil then
        error.raise {
          kind = "missing", operation = "cluster on " .. target.name,
          message = "whether the formation is made from nothing was not looked at",
        }
      end
      if target.role == "node" and not formation.from_nothing then return nil end
      return "no cluster"
    end

    function resource:changes(target)
      return { { what = "cluster " .. target.paths.pgdata, before = "missing", after = "initialised" } }
    end

    function resource:apply(target)
      cluster.make(formation, target)
      return "made the cluster"
    end

    return resource
  end
end

---Notes, before anything is made, whether the formation is made from nothing: the monitor has no cluster.
---@param formation pgaf.Formation
---@return pgaf.Resource
function cluster.survey(formation)
  return {
    kind = "survey", name = formation.name, reads = { cluster.fact(formation.monitor) },
    probe = function(_, target, facts)
      formation.from_nothing = not facts.content[version_file(target)]
      return nil
    end,
  }
end

return cluster
