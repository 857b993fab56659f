-- The formation's own certificate authority, and a certificate for each server. The authority's key stays on the
-- monitor's node, each server's key on its own: requests and certificates travel.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local time = require "pgafrun.time"
local quote = require "pgaf.quote"
local settings = require "pgaf.autofailover.settings"

local pki = {}

local DAYS = 3650
local RENEW_SECONDS = 90 * 86400

---Where the authority's key and certificate are, on the monitor.
---@param formation pgaf.Formation
---@return string
function pki.folder(formation)
  return formation.monitor.paths.ca or formation.monitor.paths.base .. "/ca"
end

-- formation.authority: the certificate; false when there is none; nil while nobody has looked.
local function known_authority(formation)
  if formation.authority ~= nil then return formation.authority end
  return error.raise {
    kind = "missing", operation = "certificates of formation " .. formation.name,
    message = "the certificate authority was not looked at",
    hint = "the monitor's step comes first; learns = true in it has it looked at also with --limit and --tags",
  }
end

-- Key and certificate get their names last: what has a name is complete. The subject is unique, so that a certificate
-- of an authority that was lost is not taken for one of ours.
local MAKE_AUTHORITY = [[
set -e; umask 077
mkdir -p %s; cd %s
rm -f ca.key ca.crt
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key.new -out ca.crt.new \
  -days %d -subj "$subject" -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
  -addext keyUsage=critical,keyCertSign,cRLSign 2>&1
mv ca.key.new ca.key; mv ca.crt.new ca.crt]]

---@param formation pgaf.Formation
---@return pgaf.Resource
function pki.authority(formation)
  local folder = pki.folder(formation)
  local key, certificate = folder .. "/ca.key", folder .. "/ca.crt"
  local resource = {
    kind = "certificate authority", name = folder, reads = { { "file", key }, { "content", certificate } },
  }

  function resource:probe(_, facts)
    formation.authority = facts.file[key] and facts.content[certificate] or false
    return not formation.authority and "no certificate authority" or nil
  end

  function resource:changes()
    return { { what = "certificate authority " .. folder, before = "missing", after = "made anew" } }
  end

  function resource:apply(target)
    local folder_word = quote.sh(folder)
    target.node:run(MAKE_AUTHORITY:format(folder_word, folder_word, DAYS), {
      env = { subject = ("/CN=pgafrun %s %s"):format(formation.name, crypto.random_hex(4)) },
    })
    return "made the certificate authority"
  end

  return resource
end

local function add_once(list, value)
  for _, one in ipairs(list) do
    if one == value then return end
  end
  list[#list + 1] = value
end

-- Names and addresses that a client may know the server by.
local function identities(target)
  local dns, ip = {}, {}
  add_once(dns, target.name)
  local hostname = target.node.hostname
  if hostname:find("^[%d.]+$") then add_once(ip, hostname) else add_once(dns, hostname) end
  add_once(ip, target.node:address())
  return dns, ip
end

local function holds(list, values)
  local set = {}
  for _, one in ipairs(list) do set[one] = true end
  for _, value in ipairs(values) do
    if not set[value] then return false, value end
  end
  return true
end

local REQUEST = [[
set -e
[ -s %s ] || { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out %s.new 2>&1; mv %s.new %s; }
openssl req -new -key %s -subj "$subject"]]

local SIGN = [[
set -e; umask 077; cd %s
openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -days %d -sha256 \
  -extfile /dev/fd/3 3<<END_OF_EXTENSIONS
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=$names
END_OF_EXTENSIONS]]

---@param formation pgaf.Formation
---@return fun(target: pgaf.Member): pgaf.Resource[]
function pki.server(formation)
  return function(member)
    local paths = member.paths
    local resource = {
      kind = "certificate", name = paths.server_crt,
      reads = {
        { "content", paths.ca_crt }, { "content", paths.server_crt }, { "file", paths.server_crt },
        { "file", paths.server_key },
      },
    }

    function resource:probe(target, facts)
      local pem = facts.content[paths.server_crt]
      if not facts.file[paths.server_key] or not pem then return "no key and certificate" end
      local authority = known_authority(formation)
      if facts.content[paths.ca_crt] ~= authority then return "another certificate authority" end
      local readable, now = pcall(crypto.certificate, pem)
      if not readable then return "no certificate is in " .. paths.server_crt end
      if now.issuer ~= crypto.certificate(authority).subject then return "signed by another authority" end
      local dns, ip = identities(target)
      local has, missing = holds(now.dns, dns)
      if has then has, missing = holds(now.ip, ip) end
      if not has then return "not for " .. missing end
      if now.not_after - time.wall() < RENEW_SECONDS then return "ends soon" end
      for _, path in ipairs { paths.server_key, paths.server_crt } do
        local file = facts.file[path]
        if file.mode ~= "0600" or file.user ~= formation.owner then return path .. " is not private" end
      end
      return nil
    end

    function resource:changes(target, facts)
      local dns, ip = identities(target)
      local issuer = formation.authority and crypto.certificate(formation.authority).subject
      return {
        {
          what = "certificate " .. paths.server_crt, before = self:probe(target, facts),
          after = ("for %s %s, signed by %s"):format(
            table.concat(dns, " "), table.concat(ip, " "), issuer or "an authority to be made"),
        },
      }
    end

    function resource:apply(target)
      local key = quote.sh(paths.server_key)
      local owner = { user = formation.owner, env = { subject = "/CN=" .. target.name } }
      local request = target.node:run(REQUEST:format(key, key, key, key, key) ..
        ("\nchmod 600 %s"):format(key), owner).stdout
      local dns, ip = identities(target)
      local names = {}
      for _, name in ipairs(dns) do names[#names + 1] = "DNS:" .. name end
      for _, address in ipairs(ip) do names[#names + 1] = "IP:" .. address end
      local signed = formation.monitor.node:run(SIGN:format(quote.sh(pki.folder(formation)), DAYS), {
        stdin = request, env = { names = table.concat(names, ",") },
      }).stdout
      local file = { mode = "0600", user = formation.owner }
      target.node:push(paths.ca_crt, formation.authority, file)
      target.node:push(paths.server_crt, signed:match("%-%-%-%-%-BEGIN.*"), file)
      return "certified " .. table.concat(names, " ")
    end

    return { resource, settings.to_load(member, { paths.ca_crt, paths.server_crt, paths.server_key }) }
  end
end

return pki
