-- Which image a formation wants, when it has to be baked, and which ones may go.

local bake = require "pgaf.provider.incus_bake"
local test = require "pgaf.test"
local time = require "pgafrun.time"

local lu = test.lu

local DAY = 86400

-- A server that has these images and instances, asked through the paths of its API.
local function server(images, instances)
  local fake = { info = { environment = { kernel_architecture = "x86_64" } } }
  function fake.escape(text) return text end
  function fake:find(path)
    local alias = path:match "^/1.0/images/aliases/(.+)$"
    local fingerprint = path:match "^/1.0/images/(%x+)$"
    for _, image in ipairs(images) do
      if alias and image.aliases[1] and image.aliases[1].name == alias then return { target = image.fingerprint } end
      if image.fingerprint == fingerprint then return image end
    end
    return self and nil
  end
  function fake:get(path, query)
    lu.assertNotNil(self)
    if path == "/1.0/images" then return images end
    local list = {}
    for name, base in pairs(instances or {}) do
      list[#list + 1] = query and { name = name, config = { ["volatile.base_image"] = base } }
        or "/1.0/instances/" .. name .. "?project=other"
    end
    return list
  end
  return fake
end

local function image(fingerprint, alias, digest, days)
  return {
    fingerprint = fingerprint, aliases = alias and { { name = alias } } or {}, size = 1000,
    properties = digest and { [bake.DIGEST] = digest, ["user.pgafrun.baked_at"] = tostring(time.wall() - days * DAY) }
      or {},
  }
end

local BASE = image("aa", "debian/12")

local function provider(images, instances)
  local client = server(images, instances)
  return {
    settings = { image = "debian/12", bake_max_age = 7 },
    entries = { n1 = { name = "n1" }, n2 = { name = "n2" }, n3 = { name = "n3" } },
    order = { n1 = 1, n2 = 2, n3 = 3 },
    client = function() return client end,
    image = function(_, entry)
      local remote = entry.image and entry.image:match "^images:(.+)$"
      if not remote then return { alias = entry.image or "debian/12" } end
      return { alias = remote, server = { protocol = "simplestreams", endpoints = { { url = "https://images" } } } }
    end,
  }
end

local function recipe(contents) return { contents = contents or { names = { "a" } }, packages = { "a" } } end

local function digest(contents, entry, images)
  return bake.plan(provider(images or { BASE }), entry or {}, recipe(contents)).digest
end

local T = {}

function T.test_the_digest_is_of_base_packages_versions_and_sources()
  local one = digest { names = { "a" }, versions = { a = "1" }, source = "pgdg" }
  lu.assertStrMatches(one, "%x%x%x%x%x%x%x%x%x%x%x%x")
  lu.assertEquals(digest { source = "pgdg", versions = { a = "1" }, names = { "a" } }, one)
  lu.assertNotEquals(digest { names = { "a" }, versions = { a = "2" }, source = "pgdg" }, one)
  lu.assertNotEquals(digest { names = { "a" }, versions = { a = "1" }, source = "distribution" }, one)
  lu.assertNotEquals(digest({ names = { "a" }, versions = { a = "1" }, source = "pgdg" }, nil,
    { image("bb", "debian/12") }), one)
end

function T.test_the_same_base_by_another_alias_is_the_same_image()
  local other = image("aa", "bookworm")
  lu.assertEquals(digest(nil, { image = "bookworm" }, { other }), digest())
  lu.assertNotEquals(digest(nil, { image = "images:debian/12" }), digest())
end

function T.test_an_image_has_to_be_ours_and_young()
  local plan = bake.plan(provider { BASE }, {}, recipe())
  local function found(one)
    local object, fresh = bake.find(provider { BASE, one }, plan)
    return object and object.fingerprint, fresh
  end
  lu.assertEquals({ found(image("cc", plan.alias, plan.digest, 1)) }, { "cc", true })
  lu.assertEquals({ found(image("cc", plan.alias, plan.digest, 8)) }, { "cc", false })
  lu.assertEquals({ found(image("cc", plan.alias)) }, { nil, false })
  lu.assertEquals({ found(image("cc", nil, plan.digest, 1)) }, { nil, false })
end

function T.test_baked_for_two_missing_nodes_and_not_for_one()
  local function count(instances, ahead, images)
    return #bake.missing(provider(images or { BASE }, instances), recipe(), ahead)
  end
  lu.assertEquals(count {}, 1)
  lu.assertEquals(count { n2 = "aa" }, 1)
  lu.assertEquals(count { n1 = "aa", n2 = "aa" }, 0)
  lu.assertEquals(count({ n1 = "aa", n2 = "aa", n3 = "aa" }, true), 1)
  local plan = bake.plan(provider { BASE }, {}, recipe())
  lu.assertEquals(count({}, nil, { BASE, image("cc", plan.alias, plan.digest, 1) }), 0)
  lu.assertEquals(count({}, nil, { BASE, image("cc", plan.alias, plan.digest, 8) }), 1)
end

function T.test_only_old_or_superfluous_images_of_ours_go()
  local plan = bake.plan(provider { BASE }, {}, recipe())
  local images = {
    BASE, image("01", plan.alias, plan.digest, 1), image("02", "pgafrun/unused", "unused", 1),
    image("03", "pgafrun/used", "used", 1), image("04", "pgafrun/old", "old", 8), image("05", "pgafrun/not-ours"),
    image("06", nil, "being-baked", 0),
  }
  local going = {}
  for i, one in ipairs(bake.superfluous(provider(images, { other = "03", another = "04" }), { plan })) do
    going[i] = one.fingerprint
  end
  lu.assertEquals(going, { "02", "04" })
end

test.run("Bake", T)
