-- PostgreSQL and pg_auto_failover from packages: from PGDG, or from the distribution.

local apt_source = require "pgaf.resources.apt_source"
local file = require "pgaf.resources.file"
local directory = require "pgaf.resources.directory"
local json = require "pgafrun.json"
local node_facts = require "pgaf.facts"
local package = require "pgaf.resources.package"

local packages = {}

-- A builder has just fetched its lists.
local LISTS_SECONDS = 300

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

-- In an image that has PostgreSQL already, that cluster may be there all the same: it would take port and memory. It is
-- stopped for good, and its data left as it is.
local function default_cluster_stopped(version)
  local start_conf = ("/etc/postgresql/%d/main/start.conf"):format(version)
  return {
    kind = "default cluster", name = ("%d/main"):format(version), reads = { { "content", start_conf } },
    probe = function(_, _, facts)
      local text = facts.content[start_conf]
      local mode = text and ("\n" .. text):match("\n%s*(%l+)")
      return mode and mode ~= "disabled" and ("the distribution's cluster %d/main is there"):format(version) or nil
    end,
    changes = function(_, _, facts)
      return { { what = start_conf, before = facts.content[start_conf], after = "disabled\n" } }
    end,
    apply = function(_, target)
      target.node:run(([[
if [ "$(pg_lsclusters -h %d main | awk '{ print $4 }')" = online ]; then pg_ctlcluster %d main stop -m fast; fi
echo disabled >%s && systemctl daemon-reload]]):format(version, version, start_conf), { timeout = 120 })
      return ("stopped the distribution's cluster %d/main"):format(version)
    end,
  }
end

---@param formation pgaf.Formation
---@param lists_age? integer seconds that apt's lists may be old
---@return fun(): pgaf.Resource[]
function packages.installed(formation, lists_age)
  local postgres = formation.inventory.postgres
  return function()
    return {
      package { names = packages.names(postgres), versions = postgres.packages, cache_valid_time = lists_age },
      default_cluster_stopped(postgres.version),
    }
  end
end

-- ------------------------------------------------------------------------------------- images with packages in them

local function bring(target, resource, tell)
  local read = target.facts:fetch(resource.reads or {})
  local difference = resource:probe(target, read)
  if not difference then return end
  resource:apply(target, difference, read, tell)
  target.facts:forget()
end

---What the steps above do on each node, for an image that has it done already.
---@param formation pgaf.Formation
---@return pgaf.bake.Recipe
function packages.recipe(formation)
  local postgres = formation.inventory.postgres
  local names = packages.names(postgres)
  local pgdg = postgres.source == "pgdg" and packages.pgdg(postgres) or nil
  return {
    packages = names,
    contents = {
      names = json.as_array(names), versions = postgres.packages, source = postgres.source,
      pgdg = pgdg and { url = pgdg.url, suite = pgdg.suite, fingerprint = pgdg.fingerprint },
    },
    lists_ahead = not pgdg,
    install = function(node, tell)
      local target = { name = node.name, node = node, facts = node_facts.new(node, 5432) }
      if pgdg then bring(target, apt_source(pgdg), tell) end
      for _, resource in ipairs(packages.no_default_cluster()()) do bring(target, resource, tell) end
      local installed = packages.installed(formation, not pgdg and LISTS_SECONDS or nil)
      for _, resource in ipairs(installed()) do bring(target, resource, tell) end
    end,
  }
end

local function of_provider(formation, ahead, make)
  local place = formation.provider
  place:wants_images(packages.recipe(formation))
  local plans
  return {
    kind = "image",
    probe = function()
      local difference
      difference, plans = place:image_difference(ahead)
      return difference
    end,
    -- a baking that failed has changed nothing: the packages are installed on each node then
    ensure = function(_, _, tell, difference)
      if not difference then return nil end
      return place[make](place, tell) or (#plans == 0 and "removed it: " .. difference or nil)
    end,
  }
end

---The image that missing nodes are about to be launched from: once for all of them, before any.
---@param formation pgaf.Formation
---@return pgaf.Resource
function packages.image(formation) return of_provider(formation, false, "make_images") end

---The same, ahead of time.
---@param formation pgaf.Formation
---@return pgaf.Resource
function packages.image_ahead(formation) return of_provider(formation, true, "make_images_ahead") end

local function described(image)
  return ("%s, %.0f MB, %s (%s)"):format(image.alias, image.size / 1e6, image.why, image.packages or "of no packages")
end

---No baked image that is too old, or that nobody wants.
---@param formation pgaf.Formation
---@return pgaf.Resource
function packages.old_images(formation)
  local place = formation.provider
  local function list(images)
    local words = {}
    for i, image in ipairs(images) do words[i] = described(image) end
    return table.concat(words, "; ")
  end
  return {
    kind = "image",
    probe = function()
      local images = place:superfluous_images()
      return #images > 0 and list(images) or nil
    end,
    apply = function() return "removed " .. list(place:prune_images()) end,
  }
end

return packages
