-- Baking: packages are installed once, in a container that nobody keeps (the builder), which is published as an image
-- of the same server. Nodes are launched from it and find their packages there.
--
-- The image's alias is pgafrun/DIGEST: of the base image, the packages, their versions and their sources. It is given
-- last, so an image that has one is whole. The builder's name has the digest in it too, and names are unique on a
-- server: whoever makes the builder bakes, and others wait. The builder carries a lease; one whose baker has died, and
-- an image without an alias, are left-overs, and the next baking removes them. A builder that is of no use any more
-- becomes one of the nodes: it is what they are when they are unpacked.
--
-- An image never lies for long: the packages are looked at on every node all the same, and one that is older than
-- provider.bake_max_age days is baked anew.
--
-- Why so, measured on a server with the storage driver `dir` and two processors: publishing 650 MB takes 1.9 s without
-- compression and 4.1 s with zstd, launching from it 1.9 and 2.6 s; copying the builder instead of publishing it 2.4 s,
-- for each node, every time. One installation takes 10 s, three side by side 23 s.

local rethrow = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local image = require "pgaf.incus.image"
local instance = require "pgaf.incus.instance"
local json = require "pgafrun.json"
local lease = require "pgaf.provider.lease"
local log = require "pgafrun.log"
local Node = require "pgaf.provider.incus_node"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

-- Part of the digest: to be raised when what the builder is left with changes.
local FORMAT = 1
local ALIAS = "pgafrun/"
local BUILDER = "pgafrun-bake-"
local BUILDER_TAG = "user.pgafrun.bake"
local DIGEST = "user.pgafrun.digest"
local BAKED_AT = "user.pgafrun.baked_at"
-- No longer can a baking take, nor bind those who wait for it.
local BAKE_SECONDS = 1800
local WAIT_SECONDS = 600
local WAIT_PAUSE = 0.3
local TIDY_SECONDS = 300
local SECONDS_A_DAY = 86400

---What is to be in the image.
---@class pgaf.bake.Recipe
---@field contents table all that decides what comes out, for the digest: names, versions, sources
---@field packages string[] for people
---@field install fun(node: pgaf.incus.Node, tell: fun(text: string)) installs them
---@field lists_ahead? boolean apt's lists of the base image's sources are what `install` needs

---@class pgaf.bake.Plan one image that nodes want
---@field base string the base image's name, for people
---@field source pgaf.incus.ImageSource of the builder
---@field target string? cluster member
---@field digest string
---@field alias string
---@field recipe pgaf.bake.Recipe
---@field names? string[] nodes that want it, in the inventory's order, the monitor first

local bake = { ALIAS = ALIAS, DIGEST = DIGEST, BUILDER = BUILDER, BUILDER_TAG = BUILDER_TAG }

local function no_tell() end

local function decode(text)
  local ok, held = pcall(json.decode, text or "")
  return ok and type(held) == "table" and held or nil
end

-- ------------------------------------------------------------------------------------------------------ what is wanted

-- What another server calls by an alias, its daemon alone can look up: there the image's age bounds the difference.
local function base_of(provider, source)
  if source.server then
    return { server = source.server.endpoints[1].url, protocol = source.server.protocol, alias = source.alias }
  end
  return { fingerprint = image.target(provider:client(), source.alias) or source.alias }
end

---@param provider pgaf.incus.Provider
---@param entry table a node of the inventory
---@param recipe pgaf.bake.Recipe
---@return pgaf.bake.Plan
function bake.plan(provider, entry, recipe)
  local source = provider:image(entry)
  local environment = provider:client().info.environment or {}
  local digest = crypto.sha256(json.encode {
    format = FORMAT, base = base_of(provider, source), contents = recipe.contents,
    architecture = environment.kernel_architecture,
  }):sub(1, 12)
  return {
    base = entry.image or provider.settings.image, source = source, recipe = recipe, digest = digest,
    target = entry.target or provider.settings.target, alias = ALIAS .. digest,
  }
end

---@param object pgaf.incus.Image
---@return number days since it was baked
function bake.age(object)
  return (time.wall() - (tonumber(object.properties[BAKED_AT]) or 0)) / SECONDS_A_DAY
end

---The image of a plan, if there is one.
---@param provider pgaf.incus.Provider
---@param plan pgaf.bake.Plan
---@return pgaf.incus.Image? object, boolean fresh
function bake.find(provider, plan)
  local object = image.find(provider:client(), plan.alias)
  if not object or not object.properties or object.properties[DIGEST] ~= plan.digest then return nil, false end
  return object, bake.age(object) <= provider.settings.bake_max_age
end

---The images that these nodes want.
---@param provider pgaf.incus.Provider
---@param entries table<string, table> of the inventory
---@param recipe pgaf.bake.Recipe
---@param least integer nodes that have to want an image
---@return pgaf.bake.Plan[]
function bake.plans(provider, entries, recipe, least)
  local by_digest, plans, names = {}, {}, {}
  for name in pairs(entries) do names[#names + 1] = name end
  table.sort(names, function(a, b) return provider.order[a] < provider.order[b] end)
  for _, name in ipairs(names) do
    local plan = bake.plan(provider, entries[name], recipe)
    plan = by_digest[plan.digest] or plan
    by_digest[plan.digest], plan.names = plan, plan.names or {}
    table.insert(plan.names, name)
    if #plan.names == least then plans[#plans + 1] = plan end
  end
  table.sort(plans, function(a, b) return a.digest < b.digest end)
  return plans
end

-- The builders among these instances whose bakers have died.
local function abandoned(client, builders)
  local list = {}
  for _, name in ipairs(builders) do
    local object = instance.of(client, name):get()
    local held = object and decode(object.config[BUILDER_TAG])
    if held and lease.is_over(held) then list[#list + 1] = name end
  end
  return list
end

---Those that have to be baked: they are not there, or too old. Without `ahead` those that are about to be launched
---from: a single missing node is launched and installed quicker than an image is baked for it.
---@param provider pgaf.incus.Provider
---@param recipe pgaf.bake.Recipe
---@param ahead? boolean
---@return pgaf.bake.Plan[], string[] leftovers names of builders that interrupted bakings left
function bake.missing(provider, recipe, ahead)
  local entries, plans, builders = {}, {}, {}
  for name, entry in pairs(provider.entries) do entries[name] = entry end
  for _, url in ipairs(provider:client():get "/1.0/instances" or {}) do
    local name = url:match "/instances/([^/?]+)"
    if not ahead then entries[name] = nil end
    if name:sub(1, #BUILDER) == BUILDER then builders[#builders + 1] = name end
  end
  for _, plan in ipairs(bake.plans(provider, entries, recipe, ahead and 1 or 2)) do
    if not select(2, bake.find(provider, plan)) then plans[#plans + 1] = plan end
  end
  return plans, abandoned(provider:client(), builders)
end

-- ------------------------------------------------------------------------------------------------------- the builder

local function refuse_name(name)
  error.raise {
    kind = "foreign", operation = "bake",
    message = ("an instance named %s exists and is no builder of ours"):format(name),
  }
end

-- Makes sure that nobody else removes the same left-over: the record in it is exchanged for ours, under its ETag.
local function take_over(handle, record)
  local was
  local ok, changed = pcall(handle.update, handle, function(object)
    was = decode(object.config[BUILDER_TAG])
    if not was or not lease.is_over(was) then return nil end
    return { config = { [BUILDER_TAG] = record } }
  end)
  if not ok and not error.is(changed, "absent") then rethrow(changed, 0) end
  return ok and changed, was
end

local function remove_leftover(handle, record)
  local taken, was = take_over(handle, record)
  if not taken then return false end
  log.warn(("removing the builder %s that an interrupted baking left"):format(handle.name),
    { of = was.holder, since = was.since })
  handle:delete()
  return true
end

-- Left-overs of bakings of other images than ours: a changed list of packages has another digest.
local function sweep_builders(client, record)
  local busy = {}
  for _, object in ipairs(instance.having(client, BUILDER_TAG)) do
    -- a node that was the builder has its tag still
    local held = object.name:sub(1, #BUILDER) == BUILDER and decode(object.config[BUILDER_TAG])
    if held and lease.is_over(held) then
      remove_leftover(instance.of(client, object.name), record)
    elseif held then
      busy[object.name:sub(#BUILDER + 1)] = true
    end
  end
  return busy
end

-- An image that never got its alias; not while somebody bakes that very one.
local function sweep_images(client, busy)
  for _, object in ipairs(image.having(client, DIGEST)) do
    if #(object.aliases or {}) == 0 and not busy[object.properties[DIGEST]] then
      log.warn(("removing the image %s that an interrupted baking left"):format(object.fingerprint:sub(1, 12)))
      image.delete(client, object.fingerprint)
    end
  end
end

---Removes what interrupted bakings left.
---@param provider pgaf.incus.Provider
function bake.sweep(provider)
  local client = provider:client()
  sweep_images(client, sweep_builders(client, lease.record("sweep", crypto.random_hex(8), time.iso(), BAKE_SECONDS)))
end

local function creation(provider, plan, record)
  return {
    source = plan.source, target = plan.target, profiles = provider.settings.profiles,
    config = { [BUILDER_TAG] = record }, description = "builder of the image " .. plan.alias,
  }
end

-- Makes the builder; or nil, and the image's fingerprint, when somebody else has baked it meanwhile.
local function take_builder(provider, plan, tell)
  local handle = instance.of(provider:client(), BUILDER .. plan.digest)
  local token = crypto.random_hex(8)
  local record = lease.record("bake " .. plan.alias, token, time.iso(), BAKE_SECONDS)
  local deadline, waited = time.now() + WAIT_SECONDS, false
  while true do
    local ok, problem = pcall(handle.create, handle, creation(provider, plan, record))
    if ok then return handle end
    task.check()
    local object = handle:get()
    local held = object and decode(object.config[BUILDER_TAG])
    if not object and (not waited or time.now() > deadline) then rethrow(problem, 0) end
    if object and not held then refuse_name(handle.name) end
    if held and held.token == token then return handle end
    if not held or not remove_leftover(handle, record) then
      if time.now() > deadline then rethrow(problem, 0) end
      if held and not waited then tell(("waiting for %s, process %s, who bakes it"):format(held.holder, held.pid)) end
      waited = true
      task.sleep(WAIT_PAUSE)
      local found, fresh = bake.find(provider, plan)
      if found and fresh then return nil, found.fingerprint end
    end
  end
end

-- ------------------------------------------------------------------------------------------------------------ baking

-- Nothing starts in the builder, nothing waits for its disk, no more than when an image is unpacked.
local PREPARE = [[
set -e
cd /usr/sbin && if [ -e policy-rc.d ]; then mv policy-rc.d policy-rc.d.pgafrun-bake; fi
printf '#!/bin/sh\nexit 101\n' >policy-rc.d && chmod 755 policy-rc.d
mkdir -p /etc/dpkg/dpkg.cfg.d && echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/pgafrun-bake
printf '%s\n' 'Acquire::Languages "none";' '#clear DPkg::Pre-Install-Pkgs;' >/etc/apt/apt.conf.d/99pgafrun-bake
cd /var/lib/man-db 2>/dev/null && [ -e auto-update ] && mv auto-update auto-update.pgafrun-bake || :]]

-- apt's lists, while the builder still boots, as soon as it has a network. What goes wrong is left to the installation,
-- which fetches them then.
local FETCH_LISTS = [[
for _ in $(seq 100); do
  if awk '$2 == "00000000" { found = 1 } END { exit !found }' /proc/net/route; then break; fi
  sleep 0.1
done
timeout 60 apt-get -q -o Acquire::Retries=3 --error-on=any update >/dev/null 2>&1 && touch /var/lib/apt/lists || :]]

-- What belongs to one machine alone, and what only takes room. Host keys of the base image itself stay: every instance
-- of it has those. systemd makes a machine id, and cloud-init its marks, at the node's first start.
local CLEAN = [[
set -e
cd /usr/sbin && rm -f policy-rc.d
if [ -e policy-rc.d.pgafrun-bake ]; then mv policy-rc.d.pgafrun-bake policy-rc.d; fi
rm -f /etc/dpkg/dpkg.cfg.d/pgafrun-bake /etc/apt/apt.conf.d/99pgafrun-bake
(cd /var/lib/man-db 2>/dev/null && [ -e auto-update.pgafrun-bake ] && mv auto-update.pgafrun-bake auto-update) || :
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && touch -d @0 /var/lib/apt/lists
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
if [ -d /etc/ssh ]; then find /etc/ssh -name 'ssh_host_*' -newer /etc/pgafrun-bake -delete; fi
if command -v cloud-init >/dev/null; then cloud-init clean --logs >/dev/null 2>&1 || :; fi
rm -rf /var/lib/dhcp/*.leases /var/lib/systemd/random-seed /var/log/journal/* /etc/pgafrun-bake
[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
: >/etc/machine-id]]

local function properties_of(provider, plan, object, node)
  local properties = {}
  for key, value in pairs(object.config) do
    local name = key:match "^image%.(.+)$"
    if name and not name:match "^user%." then properties[name] = value end
  end
  local me = require("pgafrun.process").self()
  local names = require("pgaf.quote").sh_list(plan.recipe.packages)
  local versions = node:run(("dpkg-query -W -f '${Package}=${Version} ' %s"):format(names)).stdout
  properties.description = ("pgafrun: %s on %s"):format(table.concat(plan.recipe.packages, ", "), plan.base)
  properties[DIGEST] = plan.digest
  properties[BAKED_AT] = ("%d"):format(time.wall() // 1)
  properties["user.pgafrun.baked"] = time.iso()
  properties["user.pgafrun.baked_by"] = ("%s@%s"):format(me.user, me.host)
  properties["user.pgafrun.formation"] = provider.formation
  properties["user.pgafrun.packages"] = versions:gsub("%s+$", "")
  properties["user.pgafrun.base"] = object.config["volatile.base_image"]
  return properties
end

-- The alias is what makes it the image: from here on others launch from it.
local function name_image(provider, plan, fingerprint)
  local client = provider:client()
  local before = image.find(client, plan.alias)
  if before and not (before.properties or {})[DIGEST] then
    error.raise {
      kind = "foreign", operation = "bake",
      message = ("the alias %s is an image's that is not ours"):format(plan.alias),
    }
  end
  image.name(client, plan.alias, fingerprint, "packages for " .. plan.base)
  if before and before.fingerprint ~= fingerprint then image.delete(client, before.fingerprint) end
end

local function prepare(node, created_at, lists_ahead)
  local booting <close> = task.group { name = "boot of " .. node.name }
  booting:spawn(node.wait_until_ready, node)
  node:run(PREPARE)
  -- host keys that the first start makes are newer than the instance
  node:run(("touch -d %s /etc/pgafrun-bake"):format(require("pgaf.quote").sh(created_at)))
  if lists_ahead then node:exec { "sh", "-c", FETCH_LISTS, timeout = 120, check = false } end
end

local function build(provider, plan, handle, tell)
  local node = Node.new(provider, handle.name, {})
  local fingerprint
  do
    local _ <close> = setmetatable({}, { __close = function() node:close() end })
    handle:start()
    prepare(node, handle:get().created_at, plan.recipe.lists_ahead)
    tell("installing " .. table.concat(plan.recipe.packages, " "))
    plan.recipe.install(node, tell)
    node:run(CLEAN)
    local properties = properties_of(provider, plan, handle:get(), node)
    node:close()
    handle:stop { force = true }
    tell "publishing the image"
    fingerprint = image.publish(provider:client(), {
      instance = handle.name, properties = properties, compression = "none",
    })
  end
  local ok, problem = pcall(name_image, provider, plan, fingerprint)
  if not ok then
    pcall(task.shield, TIDY_SECONDS, image.delete, provider:client(), fingerprint)
    rethrow(problem, 0)
  end
  return fingerprint
end

-- At the end, unless a node was made of it: a file system may be slow to make files for a minute after many were
-- deleted (ext4 looks at each of their inodes first), and nodes are being made now.
local function remove_builder(provider, builder)
  local handle = builder.handle
  local function remove()
    if builder.adopted then return end
    local ok, problem = pcall(task.shield, TIDY_SECONDS, handle.delete, handle)
    if not ok then log.warn(("the builder %s is still there"):format(handle.name), { why = tostring(problem) }) end
  end
  provider:at_the_end(remove)
end

---Bakes a plan's image, or waits for the one who does.
---@param provider pgaf.incus.Provider
---@param plan pgaf.bake.Plan
---@param tell? fun(text: string)
---@return string fingerprint
function bake.make(provider, plan, tell)
  tell = tell or no_tell
  tell("launching a builder from " .. plan.base)
  local handle, fingerprint = take_builder(provider, plan, tell)
  if not handle then return fingerprint end
  local ok, result = pcall(task.timeout, BAKE_SECONDS, build, provider, plan, handle, tell)
  local builder = { handle = handle, plan = plan, fingerprint = ok and result or nil }
  remove_builder(provider, builder)
  if not ok then rethrow(result, 0) end
  if plan.names then provider.builders[plan.names[1]] = builder end
  return result
end

---Makes a node of the builder that the run has left, when it holds what the node is to be launched from: the same files
---are not unpacked once more. An image's templates are applied as to a copy.
---@param provider pgaf.incus.Provider
---@param name string of the node
---@param spec pgaf.incus.Creation
---@return boolean adopted
function bake.adopt(provider, name, spec)
  local builder = provider.builders[name]
  if not builder or spec.source.fingerprint ~= builder.fingerprint or spec.target ~= builder.plan.target then
    return false
  end
  provider.builders[name] = nil
  local config = { ["volatile.base_image"] = builder.fingerprint, ["volatile.apply_template"] = "copy" }
  for key, value in pairs(spec.config) do config[key] = value end
  local ok, problem = pcall(function()
    builder.handle:update(function()
      return { config = config, devices = spec.devices, description = spec.description }
    end)
    builder.handle:rename(name)
  end)
  builder.adopted = ok
  if ok then return true end
  task.check()
  if not error.is(problem) then rethrow(problem, 0) end
  log.debug("the builder could not become a node", { node = name, why = tostring(problem) })
  return false
end

-- ----------------------------------------------------------------------------------------------------------- pruning

local function why_to_go(object, wanted, used, max_age)
  if #(object.aliases or {}) == 0 then return nil end -- it is being baked; else it was swept
  local age = bake.age(object)
  if age > max_age then return ("%.1f days old"):format(age) end
  if wanted[object.properties[DIGEST]] or used[object.fingerprint] then return nil end
  return "not what the inventory asks for, and no instance comes from it"
end

---@class pgaf.bake.Superfluous
---@field alias string
---@field fingerprint string
---@field why string
---@field size integer
---@field packages string

---The images of ours that nobody wants any more: those too old to be launched from, and those that are neither what the
---inventory asks for nor any instance's base.
---@param provider pgaf.incus.Provider
---@param plans pgaf.bake.Plan[] what the inventory asks for
---@return pgaf.bake.Superfluous[]
function bake.superfluous(provider, plans)
  local client = provider:client()
  local wanted, used, found = {}, {}, {}
  for _, plan in ipairs(plans) do wanted[plan.digest] = true end
  for _, object in ipairs(client:get("/1.0/instances", { recursion = 1 }) or {}) do
    local base = object.config and object.config["volatile.base_image"]
    if base then used[base] = true end
  end
  for _, object in ipairs(image.having(client, DIGEST)) do
    local why = why_to_go(object, wanted, used, provider.settings.bake_max_age)
    if why then
      found[#found + 1] = {
        alias = object.aliases[1].name, fingerprint = object.fingerprint, why = why, size = object.size,
        packages = object.properties["user.pgafrun.packages"],
      }
    end
  end
  return found
end

---Removes them, and what interrupted bakings left.
---@param provider pgaf.incus.Provider
---@param plans pgaf.bake.Plan[] what the inventory asks for
---@return pgaf.bake.Superfluous[] removed
function bake.prune(provider, plans)
  bake.sweep(provider)
  local removed = {}
  for _, one in ipairs(bake.superfluous(provider, plans)) do
    if image.delete(provider:client(), one.fingerprint) then removed[#removed + 1] = one end
  end
  return removed
end

return bake
