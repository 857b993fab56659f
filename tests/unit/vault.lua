-- Vaults that ansible-vault 2.14 made, and what is wrong with broken ones.
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"
local test = require "pgaf.test"
local vault = require "pgaf.vault"
local yaml_file = require "pgaf.inventory.yaml_file"

local lu = test.lu

local T = {}

local ONE, OTHER = "sesame-one", "other pass"

-- "p4ss wörd!"
local PLAIN = [[
$ANSIBLE_VAULT;1.1;AES256
61623336343264306237353461303366613430393538633334626338376564333130313835323638
3438333835636137646436373636393765656565636535380a613735353439346335316533663664
38326366333464666131663462336530616431396463313932616166623334636638363361356662
3739323234643033380a666234653564356165396230643832373562643130393765373934396166
3737
]]
-- "two\nlines\n", of the id "lab" and with the other password
local LABELLED = [[
$ANSIBLE_VAULT;1.2;AES256;lab
64343639323361366132323738353637323331356338646135666662356435623938666136313539
3864383133643233343138643333633131633766343664360a303534633666343339333664343038
61323364636161303265353137663931663661306235663338373463616333343639353765333434
6164646636376462610a363061646533393437656538633637663935376466346637323038393239
3534
]]
-- sixteen bytes: one whole block, and one of padding
local BLOCK = [[
$ANSIBLE_VAULT;1.1;AES256
36636436373536376263666636346265363034343433623265353264643262663364306463623662
3463383263396434666663306361376636386237316537360a613865343337623730623561363165
61343263656435313033353331303436326637346335326437643665353264666464386232343439
3333633430323836360a393766393764373865656363613436636531373464333031376364663161
31633861363933613938663435336533343466386432333533303261653864386665
]]
local FILE = [[
$ANSIBLE_VAULT;1.1;AES256
65383930323138633631623561333837613134386139393663616438666261613065323165663738
3732363335663036396636383632646566663762353831640a343539653263306135373739303430
39376261303366663435333437326566396363396533326336353332363236623931336234643638
3038383338326239650a396463333339313439666539653336373732343430356534363236633864
33616533633663363832653334306436623966346462616534313235356636383364303133336236
39396532666132633034353362313663636538636362623639386334363263383161616566393761
32343366366132373831376537396334313162616436333366386633396239353963636233653662
37363136393462653764
]]

local directory
function T.setUp() directory = fs.mkdtemp "vault-test-" end
function T.tearDown()
  vault.use {}
  fs.remove_tree(directory)
end

local function at(name) return directory .. "/" .. name end
local function write(name, text, mode)
  fs.write(at(name), text, { mode = tonumber(mode or "600", 8) })
  return at(name)
end

local function refuses(code, f, ...)
  local ok, e = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "secret", code), tostring(e))
  lu.assertNotStrContains(e.message, "\n")
  return e.message
end

function T.test_what_ansible_made()
  lu.assertEquals(vault.decrypt(PLAIN, ONE), "p4ss wörd!")
  lu.assertEquals(vault.decrypt(LABELLED, OTHER), "two\nlines\n")
  lu.assertEquals(vault.decrypt(BLOCK, ONE), "0123456789abcdef")
  lu.assertEquals(vault.parse(LABELLED).id, "lab")
  lu.assertNil(vault.parse(PLAIN).id)
end

function T.test_indentation_and_line_ends_do_not_matter()
  lu.assertEquals(vault.decrypt("  " .. PLAIN:gsub("\n", "\r\n          "), ONE), "p4ss wörd!")
  lu.assertTrue(vault.is(PLAIN))
  lu.assertFalse(vault.is "app_password: x")
end

function T.test_a_wrong_password_is_told_by_the_hmac()
  local message = refuses("password", vault.decrypt, PLAIN, "wrong", "all.yml:7")
  lu.assertStrContains(message, "all.yml:7: the vault password (given by the script) does not open it")
end

-- One bit of salt, HMAC or data: each must be noticed before anything is decrypted.
function T.test_a_changed_vault_is_noticed()
  local digits = PLAIN:gsub("^[^\n]*\n", ""):gsub("%s", "")
  for _, place in ipairs { 1, 65 * 2 + 1, #digits - 1 } do
    local pair = digits:sub(place, place + 1)
    local other = pair == "30" and "31" or "30"
    local changed = digits:sub(1, place - 1) .. other .. digits:sub(place + 2)
    refuses("password", vault.decrypt, "$ANSIBLE_VAULT;1.1;AES256\n" .. changed, ONE)
  end
end

function T.test_what_is_no_vault_or_no_longer_one()
  local function says(text, wanted)
    lu.assertStrContains(refuses("format", vault.decrypt, text, ONE, "f.yml:3"), "f.yml:3: " .. wanted)
  end
  local header = "$ANSIBLE_VAULT;1.1;AES256\n"
  says("$ANSIBLE_VAULT", "the vault's first line")
  says("$ANSIBLE_VAULT;1.1", "the vault's first line")
  says("$ANSIBLE_VAULT;1.0;AES\n00", "a vault of format \"1.0\"")
  says("$ANSIBLE_VAULT;1.1;AES\n00", "a vault with the cipher \"AES\"")
  says("$ANSIBLE_VAULT;1.2;DES;lab\n00", "a vault with the cipher \"DES\"")
  says(header, "the vault is cut short: nothing follows")
  says(header .. "zz", "the vault has characters that are no hexadecimal digits")
  says(header .. "000", "the vault is cut short: it has an odd number")
  says(header .. "0000", "the vault is cut short: it does not hold salt, HMAC and data")
  says(PLAIN:sub(1, #PLAIN // 3), "the vault is cut short")
  for length = 0, #PLAIN - 2 do
    local ok, e = pcall(vault.decrypt, PLAIN:sub(1, length), ONE)
    lu.assertFalse(ok)
    lu.assertTrue(error.is(e, "secret"), tostring(e))
  end
end

-- With a right HMAC over data whose padding is wrong: nobody but who knows the password can make it.
function T.test_wrong_padding()
  local function hex(data) return (data:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
  local salt = ("s"):rep(32)
  local keys = crypto.pbkdf2_sha256(ONE, salt, 10000, 80)
  for _, last in ipairs { "\0", "\17", "\2", "\255" } do
    local data = crypto.aes256_ctr(keys:sub(1, 32), keys:sub(65), ("x"):rep(15) .. last)
    local mac = crypto.hmac_sha256(keys:sub(33, 64), data)
    local text = "$ANSIBLE_VAULT;1.1;AES256\n" .. hex(hex(salt) .. "\n" .. hex(mac) .. "\n" .. hex(data))
    lu.assertStrContains(refuses("format", vault.decrypt, text, ONE), "not padded")
  end
end

function T.test_random_bytes_are_refused_in_words()
  math.randomseed(20240501)
  for round = 1, 3000 do
    local bytes = {}
    for i = 1, math.random(0, 200) do bytes[i] = string.char(math.random(0, 255)) end
    local text = table.concat(bytes)
    if round % 2 == 0 then
      text = "$ANSIBLE_VAULT;1." .. math.random(0, 3) .. ";AES256\n" .. text:gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end)
    end
    local ok, e = pcall(vault.decrypt, text, ONE)
    lu.assertFalse(ok)
    lu.assertTrue(error.is(e, "secret"), tostring(e))
  end
end

function T.test_the_password_from_a_file()
  local keys = vault.keys { files = { write("pw", ONE .. " \n") } }
  lu.assertEquals(keys:decrypt(PLAIN), "p4ss wörd!")
  write("pw", "another\n")
  lu.assertEquals(keys:decrypt(PLAIN), "p4ss wörd!") -- read once
  refuses("permissions", function() return vault.keys { files = { write("open", ONE, "644") } }:decrypt(PLAIN) end)
  refuses("no_password", function() return vault.keys { files = { at "none" } }:decrypt(PLAIN) end)
  lu.assertStrContains(refuses("password", function()
    return vault.keys { files = { write("wrong", "wrong-one") } }:decrypt(PLAIN, "x.yml:1")
  end), "(of " .. at "wrong" .. ")")
end

function T.test_the_password_from_a_program()
  local program = write("pw.sh", "#!/bin/sh\necho " .. ONE .. "\n", "755")
  lu.assertEquals(vault.keys { files = { program } }:decrypt(PLAIN), "p4ss wörd!")
  local failing = write("fails.sh", "#!/bin/sh\necho locked >&2\nexit 3\n", "700")
  lu.assertStrContains(refuses("command", function() return vault.keys { files = { failing } }:decrypt(PLAIN) end),
    "exited with 3: locked")
  local open = write("open.sh", "#!/bin/sh\n", "777")
  refuses("permissions", function() return vault.keys { files = { open } }:decrypt(PLAIN) end)
  local client = write("pw-client", "#!/bin/sh\n[ \"$1 $2\" = '--vault-id lab' ] && echo '" .. OTHER .. "'\n", "700")
  lu.assertEquals(vault.keys { ids = { "lab@" .. client } }:decrypt(LABELLED), "two\nlines\n")
end

function T.test_tasks_that_open_vaults_side_by_side_ask_once()
  local asked = at "asked"
  local program = write("pw.sh", ("#!/bin/sh\necho x >>'%s'\nsleep 0.05\necho '%s'\n"):format(asked, ONE), "700")
  local keys = vault.keys { files = { program } }
  local group <close> = task.group()
  local first, second = group:spawn(keys.decrypt, keys, PLAIN), group:spawn(keys.decrypt, keys, PLAIN)
  lu.assertEquals(first:wait(), "p4ss wörd!")
  lu.assertEquals(second:wait(), "p4ss wörd!")
  lu.assertEquals(fs.read(asked), "x\n")
end

function T.test_ids_are_tried_first_and_then_all_others()
  local one, other = write("one", ONE), write("other", OTHER)
  lu.assertEquals(vault.keys { ids = { "prod@" .. one, "lab@" .. other } }:decrypt(LABELLED), "two\nlines\n")
  lu.assertEquals(vault.keys { ids = { "lab@" .. one, "prod@" .. other } }:decrypt(LABELLED), "two\nlines\n")
  lu.assertEquals(vault.keys { files = { one, other } }:decrypt(LABELLED), "two\nlines\n")
end

function T.test_without_a_password_it_is_told_where_one_may_come_from()
  local ok, e = pcall(function() return vault.keys {}:decrypt(PLAIN, "f.yml:2") end)
  lu.assertFalse(ok)
  lu.assertTrue(error.is(e, "secret", "no_password"))
  lu.assertStrContains(e.hint, "--vault-password-file")
end

function T.test_the_environment_names_a_password_file()
  local code = [[
    local vault = require "pgaf.vault"
    print(vault.current():decrypt(require("pgafrun.fs").read(...)))]]
  write("code.lua", code)
  write("v", PLAIN)
  local r = process.run { process.getenv "PGAFRUN_TEST_BINARY", at "code.lua", at "v",
    extend_env = { ANSIBLE_VAULT_PASSWORD_FILE = write("pw", ONE) } }
  lu.assertEquals(r.code, 0, r.stderr)
  lu.assertNotStrContains(r.stderr, ONE)
end

function T.test_a_secret_of_a_vault_file()
  write("vault.yml", FILE)
  vault.use { files = { write("pw", ONE) } }
  local s = secret.vault { file = at "vault.yml", key = "vault_app_password" }
  lu.assertEquals(tostring(s), "<secret>")
  lu.assertEquals(secret.source(s), "vault_app_password in the vault " .. at "vault.yml")
  lu.assertEquals(secret.reveal(s), "from-the-file")
  lu.assertEquals(secret.mask "it is from-the-file", "it is <secret>")
  lu.assertEquals(secret.reveal(secret.vault { file = at "vault.yml", key = "vault_port" }), "6432")
  lu.assertStrContains(refuses("missing", secret.reveal, secret.vault { file = at "vault.yml", key = "nested" }),
    'no text under the key "nested"')
  lu.assertErrorMsgContains("the key", secret.vault, { file = "x" })
end

function T.test_a_value_that_is_encrypted_within_a_file()
  local indented = PLAIN:gsub("\n", "\n    "):gsub("%s+$", "\n")
  write("vars.yml", "port: 5\nplain: text\npassword: !vault |\n    " .. indented)
  vault.use { files = { write("pw", ONE) } }
  lu.assertEquals(secret.reveal(secret.vault { file = at "vars.yml", key = "password" }), "p4ss wörd!")
  refuses("literal", secret.reveal, secret.vault { file = at "vars.yml", key = "plain" })
end

function T.test_texts_of_a_whole_vault_are_secrets()
  local file = yaml_file.parse("f.yml", FILE, vault.keys { files = { write("pw", ONE) } })
  lu.assertTrue(file.vaulted)
  lu.assertTrue(secret.is(file.value.vault_app_password))
  lu.assertEquals(file.value.vault_port, 6432)
  lu.assertTrue(secret.is(file.value.nested.list[2]))
  lu.assertEquals(yaml_file.plain(file.value.vault_app_password), "from-the-file")
end

test.run("vault", T)
