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

local function bytes(hex) return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end
local function hex(data) return (data:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

function T.test_equal()
  lu.assertTrue(crypto.equal("", ""))
  lu.assertTrue(crypto.equal("a\0b", "a\0b"))
  lu.assertFalse(crypto.equal("a\0b", "a\0c"))
  lu.assertFalse(crypto.equal("a", "ab"))
end

function T.test_hmac_sha256()
  -- RFC 4231, test cases 2 and 6
  lu.assertEquals(hex(crypto.hmac_sha256("Jefe", "what do ya want for nothing?")),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
  lu.assertEquals(hex(crypto.hmac_sha256(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First")),
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
end

function T.test_pbkdf2_sha256()
  -- RFC 7914, section 11
  lu.assertEquals(hex(crypto.pbkdf2_sha256("passwd", "salt", 1, 64)),
    "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" ..
    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783")
  lu.assertEquals(hex(crypto.pbkdf2_sha256("Password", "NaCl", 80000, 64)),
    "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56" ..
    "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d")
  for _, wrong in ipairs { { 0, 1 }, { 1000001, 1 }, { 1, 0 }, { 1, 1025 }, { -1, 1 } } do
    lu.assertErrorMsgContains("bad argument", crypto.pbkdf2_sha256, "p", "s", wrong[1], wrong[2])
  end
end

function T.test_aes256_ctr()
  -- NIST SP 800-38A, F.5.5
  local key = bytes "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
  local counter = bytes "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
  local plain = bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" ..
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
  local encrypted = "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5" ..
    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
  lu.assertEquals(hex(crypto.aes256_ctr(key, counter, plain)), encrypted)
  for length = 0, 64 do
    lu.assertEquals(crypto.aes256_ctr(key, counter, bytes(encrypted):sub(1, length)), plain:sub(1, length))
  end
  lu.assertErrorMsgContains("32 bytes", crypto.aes256_ctr, "short", counter, "")
  lu.assertErrorMsgContains("16 bytes", crypto.aes256_ctr, key, "short", "")
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
