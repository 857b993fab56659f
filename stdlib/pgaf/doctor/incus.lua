-- What an Incus server has to have: it answers, trusts us, knows what pgafrun asks of it, and has room, image, network
-- and storage for the formation.

local client = require "pgaf.incus.client"
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local formations = require "pgaf.autofailover.formation"
local http = require "pgafrun.http"
local packages = require "pgaf.autofailover.packages"
local program = require "pgafrun.program"
local task = require "pgafrun.task"
local thresholds = require "pgaf.doctor.thresholds"

local incus = {}

local LIMIT = 20
local RENEWAL_DAYS = 30

-- API extensions that pgafrun cannot do without, and what for.
local NEEDED = {
  { "instances", "making containers" }, { "projects", "projects" }, { "etag", "changing only what was read" },
  { "patch", "changing an instance's settings" }, { "container_exec_user_group_cwd", "running commands as a user" },
  { "container_exec_signal_handling", "ending a command" }, { "event_lifecycle", "hearing of starts and stops" },
  { "api_filtering", "finding a formation's instances" }, { "instance_file_head", "reading files" },
  { "image_create_aliases", "images with the packages in them" },
}

---@param has fun(extension: string): boolean
---@param in_cluster boolean the inventory names a cluster member
---@return string[] missing "EXTENSION (what for)"
function incus.missing_extensions(has, in_cluster)
  local missing = {}
  local function need(extension, purpose)
    if not has(extension) then missing[#missing + 1] = ("%s (%s)"):format(extension, purpose) end
  end
  for _, one in ipairs(NEEDED) do need(one[1], one[2]) end
  if in_cluster then need("clustering", "a member of a cluster") end
  return missing
end

local function look_at_server(page, provider)
  local the_client = provider:client()
  local info, server, endpoint = the_client.info, the_client.server, the_client.endpoint
  page:ok(("remote %s answers at %s: %s %s, project %s, this client is trusted (%s)"):format(server.name,
    endpoint.unix_socket or endpoint.url, info.environment.server, info.environment.server_version,
    the_client.project, info.auth_user_method or "tls"))
  local tls = not endpoint.unix_socket and server.tls
  if not tls then return end
  if tls.pinned then
    thresholds.certificate(page, "the server's certificate that is pinned here",
      crypto.certificate(tls.pinned).not_after, RENEWAL_DAYS,
      ("incus remote remove %s, then incus remote add %s ADDRESS"):format(server.name, server.name))
  else
    page:ok "the server's certificate is not pinned: the system's authorities vouch for it"
  end
  if tls.cert then
    thresholds.certificate(page, "this client's certificate", crypto.certificate(tls.cert).not_after, RENEWAL_DAYS,
      ("remove client.crt and client.key; on the server incus config trust add NAME, here incus remote add %s TOKEN")
        :format(server.name))
  end
end

local function look_at_extensions(page, provider)
  local the_client = provider:client()
  local missing = incus.missing_extensions(function(name) return the_client:has(name) end,
    provider.settings.target ~= nil)
  if #missing == 0 then
    page:ok(("the server has all API extensions that are needed (%d of its %d)"):format(#NEEDED,
      #the_client.info.api_extensions))
  else
    page:missing("the server lacks " .. table.concat(missing, ", "), "take Incus 6.0 or later")
  end
end

-- A project may hold fewer instances than the formation still lacks.
local function look_at_project(page, provider)
  local the_client = provider:client()
  local found = the_client:find(("/1.0/projects/%s/state"):format(client.escape(the_client.project)))
  local own = #provider:nodes()
  local wanted = #provider.inventory.nodes + 1 - own
  local resources = type(found) == "table" and found.resources or {}
  for _, kind in ipairs { "instances", "containers" } do
    local resource = resources[kind]
    local left = resource and resource.Limit and resource.Limit >= 0 and resource.Limit - resource.Usage
    if left and left < wanted then
      return page:missing(("project %s may have %d %s more, and %d are wanted"):format(the_client.project, left, kind,
        wanted), ("incus project set %s limits.%s=%d"):format(the_client.project, kind, resource.Usage + wanted))
    end
  end
  page:ok(("project %s: instances can be listed, %d are of this formation"):format(the_client.project, own))
end

local SLOW_SNAPSHOTS = { dir = true, lvm = true, ceph = true }

local function look_at_storage(page, provider)
  local the_client = provider:client()
  local pool
  for _, device in pairs(provider:profile_devices()) do
    if device.type == "disk" and device.path == "/" then pool = device.pool end
  end
  if not pool then
    return page:unknown("the profiles name no storage pool",
      "incus profile device add default root disk path=/ pool=POOL")
  end
  local path = "/1.0/storage-pools/" .. client.escape(pool)
  local object = the_client:get(path)
  page:ok(("pool %s, driver %s%s"):format(pool, object.driver, SLOW_SNAPSHOTS[object.driver] and
    ": a snapshot freezes a running node while it is copied" or ": snapshots do not stop a node"))
  local ok, resources = pcall(the_client.get, the_client, path .. "/resources")
  task.check()
  local space = ok and type(resources) == "table" and resources.space
  if space and (space.total or 0) > 0 then
    thresholds.disk(page, "pool " .. pool, space.total, space.total - (space.used or 0),
      "remove what nobody wants (bake --prune, incus image list), or enlarge the pool")
  else
    page:unknown(("how much room pool %s has cannot be told"):format(pool))
  end
end

-- Project, profiles and images of this server, as every run looks at them before it touches anything.
local function look_at_needs(page, provider)
  provider:check()
  page:ok "the profiles give a root disk and the network interface; images named without a remote are there"
end

-- The server fetches images itself; that they can be fetched from here as well says that the address is right.
local function look_at_images(page, provider)
  local seen = {}
  for _, entry in pairs(provider.entries) do
    local source = provider:image(entry)
    local server = source.server
    if server and not seen[server.name] then
      seen[server.name] = true
      local url = server.endpoints[1].url
      local ok, response = pcall(http.request, { url = url .. "/streams/v1/index.json", timeout = 10 })
      task.check()
      if ok and response.status == 200 then
        page:ok(("%s is for the server to fetch from %s, which answers"):format(source.alias, url))
      else
        local why = ok and "HTTP status " .. response.status or error.is(response) and response.message
          or tostring(response)
        page:warning(("%s is for the server to fetch from %s, which does not answer this machine: %s"):format(
          source.alias, url, why), "see that the server reaches it: incus image info REMOTE:ALIAS")
      end
    end
  end
end

-- For what the client has no hint of its own.
local MENDS = {
  tls = "if the server was set up anew: incus remote remove NAME, then incus remote add NAME ADDRESS",
  timeout = "is the remote's address right (incus remote list), and is there a way to it through the firewalls?",
  network = "is the remote's address right (incus remote list), and does the daemon run?",
}

-- The image with the packages in it only makes things quicker: that it is not there is no problem.
local function look_at_baked_image(page, provider)
  if not provider.settings.bake then
    return page:ok "the packages are installed on each node (provider.bake = false)"
  end
  provider:wants_images(packages.recipe(formations.open(provider, provider.inventory)))
  local ok, difference = pcall(provider.image_difference, provider, true)
  task.check()
  if not ok then
    page:warning("baked images cannot be looked at: " .. (error.is(difference) and difference.message
      or tostring(difference)), "provider.bake = false does without: the packages are installed on each node")
  elseif difference then
    page:ok(("%s yet: the next launch bakes it, or pgafrun -i %s bake"):format(difference,
      program.inventory or "INVENTORY"))
  else
    page:ok "the image with the packages in it is there"
  end
end

---@param provider pgaf.incus.Provider
---@return pgaf.doctor.Check
function incus.server_check(provider)
  local function look(page)
    local ok, problem = pcall(look_at_server, page, provider)
    if ok then return end
    task.check()
    page:raised(problem, error.is(problem) and not problem.hint and MENDS[problem.kind] or nil)
  end
  return { about = "incus", check = "server", limit = LIMIT, look = look }
end

---For a server that answers.
---@param provider pgaf.incus.Provider
---@return pgaf.doctor.Check[]
function incus.checks(provider)
  local function check(name, look)
    return { about = "incus", check = name, limit = LIMIT, look = function(page) look(page, provider) end }
  end
  return {
    check("extensions", look_at_extensions), check("permissions", look_at_project), check("profiles", look_at_needs),
    check("storage", look_at_storage), check("images", look_at_images),
    check("baked image", look_at_baked_image),
  }
end

return incus
