-- HTTP as scripts see it, against a server that does as it is asked, well or badly.

local fs = require "pgafrun.fs"
local http = require "pgafrun.http"
local is = require("pgafrun.error").is
local task = require "pgafrun.task"
local test = require "pgaf.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local http_server = dofile(here .. "/support/http_server.lua")
local lu = test.lu

local folder = fs.mkdtemp "pgafrun-http-test"
local here_identity = http_server.identity(folder, "localhost")
local client_identity = http_server.identity(folder, "client")
local unix = http_server.start(folder, "unix")
local tcp = http_server.start(folder, "tcp")
local tls = http_server.start(folder, "tls", here_identity.cert_file, here_identity.key_file, client_identity.cert_file)
local _ <close> = setmetatable({}, {
  __close = function()
    task.shield(30, function()
      for _, server in ipairs { unix, tcp, tls } do server:stop() end
      fs.remove_tree(folder)
    end)
  end,
})

local T = {}

local function request(path, more)
  local options = { url = "http://server" .. path, unix_socket = unix.unix_socket }
  for name, value in pairs(more or {}) do options[name] = value end
  return http.request(options)
end

local function expect_error(kind, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(is(e, kind), tostring(e))
  return e
end

function T.test_a_request_and_its_answer()
  local r = request("/echo?a=%20b", {
    method = "POST", body = "\0binary\n", headers = { ["Content-Type"] = "application/octet-stream", ["X-Empty"] = "" },
  })
  lu.assertEquals(r.status, 200)
  lu.assertEquals(r.body, "\0binary\n")
  lu.assertEquals(r.headers["x-method"], "POST")
  lu.assertEquals(r.headers["x-target"], "/echo?a=%20b")
  lu.assertEquals(r.headers["echo-content-type"], "application/octet-stream")
  lu.assertEquals(r.headers["echo-x-empty"], "")
  lu.assertNil(r.headers["echo-expect"])
  lu.assertEquals(r.headers.a, "1, 2")
  lu.assertTrue(r.seconds >= 0 and r.seconds < 60)
end

function T.test_a_status_is_no_error_and_a_redirect_is_not_followed()
  for _, status in ipairs { 202, 404, 412, 500, 503 } do
    lu.assertEquals(request("/status/" .. status).status, status)
  end
  local r = request "/redirect"
  lu.assertEquals({ r.status, r.headers.location, r.body }, { 307, "/echo", "" })
end

function T.test_an_answer_in_pieces()
  lu.assertEquals(request("/slowly").body, "hello")
end

function T.test_a_large_body_and_one_that_is_too_large()
  lu.assertEquals(#request("/large?20000000").body, 20000000)
  lu.assertEquals(#request("/large?1000", { max_bytes = 1000 }).body, 1000)
  local e = expect_error("limit", request, "/large?1001", { max_bytes = 1000 })
  lu.assertFalse(e.retryable)
end

function T.test_what_breaks_has_a_kind_and_a_place()
  local e = expect_error("network", request, "/half")
  lu.assertTrue(e.retryable)
  lu.assertNil(e.outcome)
  lu.assertEquals(e.operation, "http.request")
  lu.assertStrContains(e.where, "http.lua:")
  lu.assertStrContains(e.message, "GET http://server/half")
  expect_error("protocol", request, "/garbage")
  e = expect_error("timeout", request, "/stall", { timeout = 0.1 })
  lu.assertTrue(e.retryable)
end

function T.test_a_mutation_that_breaks_off_has_an_unknown_outcome()
  local headers = { ["Content-Type"] = "application/json" }
  local e = expect_error("network", request, "/drop", { method = "POST", body = "{}", headers = headers })
  lu.assertEquals(e.outcome, "unknown")
  lu.assertFalse(e.retryable)
  e = expect_error("timeout", request, "/stall", { method = "PUT", timeout = 0.1 })
  lu.assertEquals(e.outcome, "unknown")
  -- a POST that only reads says so
  e = expect_error("network", request, "/drop", { method = "POST", mutates = false })
  lu.assertNil(e.outcome)
end

function T.test_a_mutation_arrives_once_though_its_kept_connection_dies()
  local base = "http://127.0.0.1:" .. tcp.port
  http.request { url = base .. "/echo" } -- leaves a connection to be used again
  local e = expect_error("network", http.request, { url = base .. "/drop", method = "POST" })
  lu.assertEquals(e.outcome, "unknown")
  lu.assertEquals(http.request({ url = base .. "/how-often?/drop" }).body, "1")
end

function T.test_a_deadline_and_a_cancellation_end_a_request()
  local e = expect_error("timeout", task.timeout, 0.1, request, "/stall")
  lu.assertEquals(e.code, "deadline")
  local group <close> = task.group()
  local waiting = group:spawn(request, "/stall")
  task.sleep(0.05)
  waiting:cancel()
  expect_error("cancelled", waiting.wait, waiting)
  lu.assertEquals(request("/echo").status, 200)
end

function T.test_a_hundred_at_a_time()
  local done = 0
  do
    local group <close> = task.group { deadline = 60 }
    for i = 1, 100 do
      group:spawn(function()
        local headers = { ["Content-Type"] = "text/plain" }
        local r = request("/echo", { method = "POST", body = tostring(i), headers = headers })
        lu.assertEquals(r.body, tostring(i))
        done = done + 1
      end)
    end
  end
  lu.assertEquals(done, 100)
end

function T.test_a_socket_that_is_not_there()
  local e = expect_error("network", request, "/", { unix_socket = folder .. "/nobody" })
  lu.assertEquals(e.code, "ENOENT")
  fs.write(folder .. "/file", "")
  e = expect_error("network", request, "/", { unix_socket = folder .. "/file" })
  lu.assertEquals(e.code, "ECONNREFUSED")
  e = expect_error("network", http.request, { url = "http://127.0.0.1:1/?secret=hunter2" })
  lu.assertEquals(e.code, "ECONNREFUSED")
  lu.assertNil(tostring(e):find "hunter2")
end

local function tls_request(options, host)
  options.url = ("https://%s:%s/echo"):format(host or "127.0.0.1", tls.port)
  return http.request(options)
end

function T.test_tls_is_verified()
  local client = { cert = client_identity.cert, key = client_identity.key }
  local function trust(more)
    for name, value in pairs(client) do more[name] = value end
    return { tls = more }
  end
  lu.assertEquals(tls_request(trust { pinned = here_identity.cert }).status, 200)
  lu.assertEquals(tls_request(trust { ca = here_identity.cert }, "localhost").status, 200)
  expect_error("tls", tls_request, trust { ca = here_identity.cert }) -- 127.0.0.1 is not its name
  expect_error("tls", tls_request, trust { pinned = client_identity.cert })
  expect_error("tls", tls_request, trust {})
  expect_error("tls", tls_request, { tls = { pinned = here_identity.cert } }) -- the server wants to know us
end

function T.test_an_encrypted_key_is_refused_clearly()
  local file = folder .. "/encrypted.key"
  local r = require("pgafrun.process").run { "openssl", "pkey", "-in", client_identity.key_file, "-aes256", "-passout",
    "pass:phrase", "-out", file }
  lu.assertEquals(r.code, 0)
  local e = expect_error("tls", tls_request, {
    tls = { pinned = here_identity.cert, cert = client_identity.cert, key = fs.read(file) } })
  lu.assertStrContains(e.message, "passphrase")
end

function T.test_mistakes_of_the_script_are_argument_errors()
  local bad = {
    [{}] = "url",
    [{ url = "ftp://x/" }] = "http:// or https://",
    [{ url = "http://x/", boddy = "" }] = "no option 'boddy'",
    [{ url = "http://x/", body = "x" }] = "Content-Type",
    [{ url = "http://x/", method = "GET /evil" }] = "method",
    [{ url = "http://x/", headers = { ["X-A"] = "b\r\nEvil: yes" } }] = "line break",
    [{ url = "http://x/", headers = { ["X A"] = "b" } }] = "cannot be a header's name",
    [{ url = "http://x/", headers = { ["X-A"] = 1 } }] = "map names to strings",
    [{ url = "http://x/", timeout = 0 }] = "timeout",
    [{ url = "http://x/", max_bytes = -1 }] = "max_bytes",
    [{ url = "http://x/", tls = {} }] = "without TLS",
    [{ url = "https://x/", tls = { cert = "x" } }] = "go together",
    [{ url = "https://x/", tls = { ca = "x", pinned = "x" } }] = "exclude",
    [{ url = "https://x/", tls = { insecure = true } }] = "no option 'insecure'",
  }
  for options, text in pairs(bad) do
    local ok, e = pcall(http.request, options)
    lu.assertFalse(ok)
    lu.assertEquals(type(e), "string")
    lu.assertStrContains(e, text)
  end
end

function T.test_a_malformed_url_is_an_error_of_data()
  expect_error("data", http.request, { url = "http://[::1/" })
end

function T.test_escape()
  lu.assertEquals(http.escape "aZ09-._~", "aZ09-._~")
  lu.assertEquals(http.escape "a b/c?\0\255+", "a%20b%2Fc%3F%00%FF%2B")
end

test.run("http", T)
