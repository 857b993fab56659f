-- PostgreSQL and pg_auto_failover from packages: from PGDG, or from the distribution.

local apt_source = require "pgaf.resources.apt_source"
local file = require "pgaf.resources.file"
local directory = require "pgaf.resources.directory"
local package = require "pgaf.resources.package"

local packages = {}

---What is installed, for PostgreSQL's major version of the inventory.
---@param postgres table
---@return string[]
function packages.names(postgres)
  return { ("postgresql-%d-auto-failover"):format(postgres.version), "pg-auto-failover-cli", "openssl" }
end

---PGDG as an apt source.
---@param postgres table
---@return pgaf.AptSource
function packages.pgdg(postgres)
  local pgdg = postgres.pgdg
  return {
    name = "pgdg", url = pgdg.url, suite = pgdg.suite, suffix = "-pgdg", components = { "main" }, key = pgdg.key,
    fingerprint = pgdg.fingerprint,
  }
end

---@param formation pgaf.Formation
---@return fun(): pgaf.Resource
function packages.source(formation)
  return function() return apt_source(packages.pgdg(formation.inventory.postgres)) end
end

---The server's package makes a cluster and starts it, unless it is told not to before it is installed.
---@return fun(): pgaf.Resource[]
function packages.no_default_cluster()
  local folder = "/etc/postgresql-common/createcluster.d"
  return function()
    return {
      directory { paths = { "/etc/postgresql-common", folder }, mode = "0755" },
      file { path = folder .. "/pgafrun.conf", mode = "0644", content = "create_main_cluster = false\n" },
    }
  end
end

---@param formation pgaf.Formation
---@return fun(): pgaf.Resource
function packages.installed(formation)
  local postgres = formation.inventory.postgres
  return function() return package { names = packages.names(postgres), versions = postgres.packages } end
end

return packages
