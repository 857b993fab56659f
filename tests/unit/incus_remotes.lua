-- The remotes of the Incus client: where its files are looked for, what wins, what is refused.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local remotes = require "pgaf.incus.remotes"
local lu = test.lu

local folder = fs.mkdtemp "pgafrun-remotes"
local _ <close> = setmetatable({}, { __close = function() task.shield(5, fs.remove_tree, folder) end })

-- The environment as this test wants it.
local environment = {}
process.getenv = function(name) return environment[name] end

local T = {}

local function file(path, text)
  path = folder .. "/" .. path
  fs.mkdir(path:match "^(.+)/")
  fs.write(path, text)
end

local function expect(kind, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(e, kind), tostring(e))
  return e
end

function T.setUp()
  environment = { HOME = folder .. "/home", INCUS_GLOBAL_CONF = folder .. "/etc" }
end

function T.tearDown()
  for _, name in ipairs(fs.list(folder)) do fs.remove_tree(folder .. "/" .. name) end
end

function T.test_without_any_file()
  local found = remotes.load()
  lu.assertEquals(found.default, "local")
  lu.assertEquals(found:names(), { "images", "local" })
  local source = found:image("images:ubuntu/22.04", "local")
  lu.assertEquals(source.alias, "ubuntu/22.04")
  lu.assertEquals(source.server.protocol, "simplestreams")
  lu.assertEquals(source.server.endpoints[1].url, "https://images.linuxcontainers.org")
  lu.assertTrue(source.server.public)
end

function T.test_the_users_folder_and_the_systems()
  file("etc/config.yml",
    "default-remote: b\nremotes:\n  a: {addr: 'https://a-global:8443'}\n  b: {addr: 'https://b:8443'}")
  file("home/.config/incus/config.yml", "remotes: {a: {addr: 'https://a-user:8443', project: p1}}")
  local found = remotes.load()
  lu.assertEquals(found:names(), { "a", "b", "images", "local" })
  lu.assertEquals(found:server("a").endpoints[1].url, "https://a-user:8443")
  lu.assertEquals(found:server("a").project, "p1")
  lu.assertEquals(found:server().name, "b")
  lu.assertEquals(found:server().project, "default")
  environment.INCUS_REMOTE, environment.INCUS_PROJECT = "a", "p2"
  lu.assertEquals(remotes.load():server().name, "a")
  lu.assertEquals(remotes.load():server().project, "p2")
  lu.assertEquals(remotes.load():server(nil, "p3").project, "p3")
end

function T.test_where_the_users_folder_is()
  file("home/.config/incus/config.yml", "default-remote: home")
  lu.assertEquals(remotes.load().default, "home")
  environment.XDG_CONFIG_HOME = folder .. "/xdg"
  lu.assertEquals(remotes.load().default, "home")
  file("xdg/incus/config.yml", "default-remote: xdg")
  lu.assertEquals(remotes.load().default, "xdg")
  file("conf/config.yml", "default-remote: conf")
  environment.INCUS_CONF = folder .. "/conf"
  lu.assertEquals(remotes.load().default, "conf")
end

local function config(text) file("home/.config/incus/config.yml", text) end

function T.test_sockets()
  config "remotes: {given: {addr: 'unix:///run/other.socket'}, short: {addr: 'unix:/run/short.socket'}}"
  local given = remotes.load():server("given").endpoints
  lu.assertEquals(given, { { url = "http://incus", unix_socket = "/run/other.socket" } })
  lu.assertEquals(remotes.load():server("short").endpoints[1].unix_socket, "/run/short.socket")
  environment.INCUS_DIR = folder .. "/daemon"
  lu.assertEquals(remotes.load():server("local").endpoints[1].unix_socket, folder .. "/daemon/unix.socket")
  file("daemon/unix.socket.user", "")
  local limited = remotes.load():server("local").endpoints[2]
  lu.assertEquals(limited.unix_socket, folder .. "/daemon/unix.socket.user")
  lu.assertEquals({ limited.when, limited.project }, { "EACCES", "user-" .. process.self().uid })
  environment.INCUS_SOCKET = "/run/mine.socket"
  local mine = remotes.load():server("local").endpoints
  lu.assertEquals(mine, { { url = "http://incus", unix_socket = "/run/mine.socket" } })
end

function T.test_several_addresses()
  config "remotes: {c: {addr: 'https://one:8443/, https://two:8443'}}"
  local endpoints = remotes.load():server("c").endpoints
  lu.assertEquals({ endpoints[1].url, endpoints[2].url, #endpoints }, { "https://one:8443", "https://two:8443", 2 })
end

function T.test_certificates()
  config "remotes: {a: {addr: 'https://a:8443'}, b: {addr: 'https://b:8443'}, i: {addr: 'https://i', public: true}}"
  file("home/.config/incus/client.crt", "CERT")
  file("home/.config/incus/client.key", "KEY")
  file("home/.config/incus/client.ca", "CA")
  file("home/.config/incus/servercerts/a.crt", "PIN")
  file("etc/servercerts/i.crt", "GLOBAL PIN")
  file("home/.config/incus/clientcerts/b.crt", "CERT B")
  file("home/.config/incus/clientcerts/b.key", "KEY B")
  local found = remotes.load()
  lu.assertEquals(found:server("a").tls, { pinned = "PIN", cert = "CERT", key = "KEY" })
  lu.assertEquals(found:server("b").tls, { cert = "CERT B", key = "KEY B" })
  lu.assertEquals(found:server("i").tls, { pinned = "GLOBAL PIN" })
  fs.remove(folder .. "/home/.config/incus/servercerts/a.crt")
  lu.assertEquals(remotes.load():server("a").tls, { ca = "CA", cert = "CERT", key = "KEY" })
  fs.remove(folder .. "/home/.config/incus/client.key")
  lu.assertStrContains(expect("config", found.server, found, "a").message, "client.key")
end

function T.test_what_is_refused()
  config "remotes: {o: {addr: 'https://o', auth_type: oidc}, n: {protocol: incus}, f: {addr: 'ftp://f'}}"
  local found = remotes.load()
  expect("unsupported", found.server, found, "o")
  expect("config", found.server, found, "n")
  expect("config", found.server, found, "f")
  local e = expect("config", found.server, found, "labb")
  lu.assertStrContains(e.message, "f, images, local, n, o")
  lu.assertStrContains(e.hint, "incus remote add labb")
  config "remotes: [1, 2"
  expect("config", remotes.load)
  config "remotes: 5"
  expect("config", remotes.load)
  config "- 1"
  expect("config", remotes.load().server, remotes.load(), "nothing")
end

function T.test_images()
  config "remotes: {lab: {addr: 'unix:///x'}, img: {addr: 'https://img', protocol: simplestreams}}"
  local found = remotes.load()
  lu.assertEquals(found:image("debian/12", "lab"), { alias = "debian/12" })
  lu.assertEquals(found:image("lab:debian/12", "lab"), { alias = "debian/12" })
  lu.assertEquals(found:image("img:debian/12", "lab").server.endpoints[1].url, "https://img")
  expect("config", found.image, found, "none:debian/12", "lab")
end

test.run("incus_remotes", T)
