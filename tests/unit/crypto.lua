local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local test = require "pgaf.test"

local lu = test.lu

local T = {}

local function refuses(code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "data", code), tostring(e))
end

function T.test_sha256()
  lu.assertEquals(crypto.sha256 "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  lu.assertEquals(crypto.sha256 "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
end

function T.test_random_hex()
  local a, b = crypto.random_hex(16), crypto.random_hex(16)
  lu.assertStrMatches(a, "^[0-9a-f]+$")
  lu.assertEquals(#a, 32)
  lu.assertNotEquals(a, b)
  lu.assertErrorMsgContains("1 to 4096", crypto.random_hex, 0)
  lu.assertErrorMsgContains("1 to 4096", crypto.random_hex, 4097)
end

function T.test_base64_of_known_texts()
  -- RFC 4648, section 10
  local known = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=" }
  for text, encoded in pairs(known) do
    lu.assertEquals(crypto.base64_encode(text), encoded)
    lu.assertEquals(crypto.base64_decode(encoded), text)
  end
  lu.assertEquals(crypto.base64_decode(" Zm9v\r\n\tYg =\n= "), "foob")
end

function T.test_base64_of_all_bytes()
  local bytes = {}
  for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
  for length = 250, 256 do
    local text = table.concat(bytes, "", 1, length)
    lu.assertEquals(crypto.base64_decode(crypto.base64_encode(text)), text)
  end
end

function T.test_base64_is_strict()
  for _, text in ipairs { "Z", "Zg", "Zg=", "Zg===", "=", "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm9v!", "Zm-_",
    "Zm9\0" } do
    refuses("base64", crypto.base64_decode, text)
  end
end

local function self_signed(...)
  local directory = fs.mkdtemp "crypto-test-"
  local r = process.run { "openssl", "req", "-x509", "-utf8", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
    "-nodes", "-days", "3", "-keyout", directory .. "/key.pem", "-out", directory .. "/cert.pem", ... }
  lu.assertEquals(r.code, 0, r.stderr)
  local pem = fs.read(directory .. "/cert.pem")
  local der = process.run { "openssl", "x509", "-outform", "der", stdin = pem }.stdout
  local end_date = process.run { "openssl", "x509", "-noout", "-enddate", stdin = pem }.stdout
  fs.remove_tree(directory)
  return pem, der, end_date
end

function T.test_certificate()
  local pem, der, end_date = self_signed("-subj", "/O=Größe/CN=node 1", "-addext",
    "subjectAltName=DNS:a.example,DNS:b.example,IP:127.0.0.1,IP:2001:db8::1,email:x@example")
  local c = crypto.certificate("leading text\n" .. pem)
  lu.assertEquals(c.fingerprint, crypto.sha256(der))
  lu.assertEquals(c.subject, "CN=node 1,O=Größe")
  lu.assertEquals(c.issuer, c.subject)
  lu.assertEquals(c.dns, { "a.example", "b.example" })
  lu.assertEquals(c.ip, { "127.0.0.1", "2001:db8::1" })
  lu.assertStrContains(end_date, os.date("!%b", c.not_after))
  lu.assertStrContains(end_date, os.date("!%H:%M:%S %Y", c.not_after))
end

function T.test_certificate_without_names()
  local c = crypto.certificate((self_signed("-subj", "/CN=x")))
  lu.assertEquals(c.dns, {})
  lu.assertEquals(c.ip, {})
end

function T.test_what_is_no_certificate()
  refuses("pem", crypto.certificate, "")
  refuses("pem", crypto.certificate, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
  local pem = self_signed("-subj", "/CN=x")
  refuses("pem", crypto.certificate, pem:sub(1, #pem // 2))
end

test.run("crypto", T)
