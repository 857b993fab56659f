-- What is so on a node, read in one round trip. Resources say beforehand which facts they look at; the first question
-- brings the answers to all of them, and a change makes them forgotten.

local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local quote = require "pgaf.quote"
local task = require "pgafrun.task"

local facts = {}

---@alias pgaf.facts.Request
---| { [1]: "file", [2]: string } path -> { type, mode, user, group, sha256? } or false
---| { [1]: "content", [2]: string } path -> text or false
---| { [1]: "package", [2]: string } name -> version or false
---| { [1]: "sql", [2]: string, database: string, query: string } name -> decoded JSON value; false without an answer
---| { [1]: "sh", [2]: string, script: string } name -> output of a command, or false when it failed
---| { [1]: "service", [2]: "status" } -> { status, detail }

---Answers by kind and key: snapshot.file["/etc/hosts"].
---@alias pgaf.Snapshot table<string, table<string, any>>

---@class pgaf.Facts
local Facts = {}
Facts.__index = Facts

---@param node pgaf.Node
---@param port integer PostgreSQL's: with the node's run folder the socket's name
---@return pgaf.Facts
function facts.new(node, port)
  return setmetatable({
    node = node, port = port, wanted = {}, known = {}, generation = 0, turn = task.condition(),
  }, Facts)
end

local function id(request) return request[1] .. ":" .. request[2] end

---Names facts that will be asked for, so that the first fetch brings them along.
---@param requests? pgaf.facts.Request[]
function Facts:want(requests)
  for _, request in ipairs(requests or {}) do self.wanted[id(request)] = request end
end

---Something changed on the node: what was read is no longer known. What will be needed is asked again when it is.
function Facts:forget()
  self.known, self.generation, self.prefetched = {}, self.generation + 1, true
end

-- -------------------------------------------------------------------------------------------------- the questions

local function by_kind(requests)
  local kinds = { file = {}, content = {}, package = {}, sql = {}, sh = {}, service = {} }
  for _, request in pairs(requests) do table.insert(kinds[request[1]], request) end
  for _, list in pairs(kinds) do
    table.sort(list, function(a, b) return a[2] < b[2] end)
  end
  return kinds
end

local function keys(list)
  local names = {}
  for i, request in ipairs(list) do names[i] = request[2] end
  return quote.sh_list(names)
end

-- Each answer is one or more lines "KIND INDEX ...". PSQL runs as the cluster's owner, whoever the session is.
local HEAD = [[
export LC_ALL=C
as=
if [ "$(id -u)" = 0 ]; then
  as='setpriv --reuid=postgres --regid=postgres --init-groups'
fi
]]

local function sql_script(list)
  local lines = {}
  for i, request in ipairs(list) do
    local database = list[i - 1] and list[i - 1].database
    if request.database ~= database then
      if database then lines[#lines + 1] = "END_OF_SQL" end
      lines[#lines + 1] = ("$as psql -XAtq -d %s 2>/dev/null <<'END_OF_SQL' || :"):format(
        quote.sh(request.database))
    end
    -- one line of JSON; encoded, because a text in it may hold anything
    lines[#lines + 1] = ("select 'sql %d ' || translate(encode(convert_to((%s)::text, 'UTF8'), 'base64'), E'\\n', '');")
      :format(request.index, request.query)
  end
  if #list > 0 then lines[#lines + 1] = "END_OF_SQL" end
  return lines
end

local function script_for(kinds)
  local lines = { HEAD }
  local function add(format, ...) lines[#lines + 1] = format:format(...) end
  if #kinds.file > 0 then
    add("stat -c 'file %%F|0%%a|%%U|%%G|%%n' -- %s 2>/dev/null || :", keys(kinds.file))
    add("sha256sum -- %s 2>/dev/null | sed 's/^/sum /' || :", keys(kinds.file))
  end
  for i, request in ipairs(kinds.content) do
    local path = quote.sh(request[2])
    add("[ -f %s ] && printf 'content %d %%s\\n' \"$(base64 -w0 <%s)\" || :", path, i, path)
  end
  if #kinds.package > 0 then
    add("dpkg-query -W -f 'package ${db:Status-Status} ${Package} ${Version}\\n' %s 2>/dev/null || :",
      keys(kinds.package))
  end
  for i, request in ipairs(kinds.sh) do
    add("out=$( { %s\n} 2>/dev/null | base64 -w0 ) && printf 'sh %d %%s\\n' \"$out\" || :", request.script, i)
  end
  for i, request in ipairs(kinds.sql) do request.index = i end
  table.sort(kinds.sql, function(a, b)
    if a.database ~= b.database then return a.database < b.database end
    return a.index < b.index
  end)
  if #kinds.sql > 0 then
    add("if [ -S \"$PGHOST/.s.PGSQL.$PGPORT\" ]; then")
    for _, line in ipairs(sql_script(kinds.sql)) do lines[#lines + 1] = line end
    add("fi")
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---------------------------------------------------------------------------------------------------- the answers

local READ = {}

function READ.file(answers, rest)
  local kind, mode, user, group, path = rest:match("^(.-)|(%d+)|(.-)|(.-)|(.*)$")
  local short = kind:find("^regular") and "file" or kind == "symbolic link" and "link" or kind
  answers.file[path] = { type = short, mode = ("%04o"):format(tonumber(mode, 8)), user = user, group = group }
end

function READ.sum(answers, rest)
  local digest, path = rest:match("^\\?(%x+)%s+%*?(.*)$")
  if answers.file[path] then answers.file[path].sha256 = digest end
end

function READ.content(answers, rest, kinds)
  local index, encoded = rest:match("^(%d+) ?(.*)$")
  answers.content[kinds.content[tonumber(index)][2]] = crypto.base64_decode(encoded)
end

function READ.package(answers, rest)
  local status, name, version = rest:match("^(%S+) (%S+) (%S*)$")
  if status == "installed" then answers.package[name] = version end
end

function READ.sh(answers, rest, kinds)
  local index, encoded = rest:match("^(%d+) ?(.*)$")
  answers.sh[kinds.sh[tonumber(index)][2]] = crypto.base64_decode(encoded)
end

function READ.sql(answers, rest, kinds)
  local index, encoded = rest:match("^(%d+) ?(.*)$")
  for _, request in ipairs(kinds.sql) do
    if request.index == tonumber(index) then
      answers.sql[request[2]] = json.decode(crypto.base64_decode(encoded))
    end
  end
end

local function parse(output, kinds)
  local answers = { file = {}, content = {}, package = {}, sql = {}, sh = {}, service = {} }
  for kind, list in pairs(kinds) do
    for _, request in ipairs(list) do answers[kind][request[2]] = false end
  end
  for line in output:gmatch("[^\n]+") do
    local kind, rest = line:match("^(%a+) (.*)$")
    if not READ[kind] then
      error.raise { kind = "protocol", operation = "facts", message = ("an answer nobody asked for: %s"):format(line) }
    end
    READ[kind](answers, rest, kinds)
  end
  return answers
end

local function ask(self, requests)
  local kinds = by_kind(requests)
  local answers
  if #kinds.file + #kinds.content + #kinds.package + #kinds.sh + #kinds.sql > 0 then
    local result = self.node:run(script_for(kinds), {
      user = "root", timeout = 60, env = { PGHOST = self.node:paths().run, PGPORT = tostring(self.port) },
    })
    answers = parse(result.stdout, kinds)
  else
    answers = parse("", kinds)
  end
  if #kinds.service > 0 then
    local status, detail = self.node:service():status()
    answers.service.status = { status = status, detail = detail }
  end
  return answers
end

local function lookup(known, requests)
  local snapshot = { file = {}, content = {}, package = {}, sql = {}, sh = {}, service = {} }
  local missing = {}
  for _, request in ipairs(requests or {}) do
    local kind, key = request[1], request[2]
    local value = known[kind] and known[kind][key]
    if value == nil then missing[id(request)] = request else snapshot[kind][key] = value end
  end
  return snapshot, next(missing) and missing
end

---The answers to these requests; asks the node for what is not known.
---@param requests? pgaf.facts.Request[]
---@return pgaf.Snapshot
function Facts:fetch(requests)
  local snapshot, missing = lookup(self.known, requests)
  while missing and self.asking do
    -- somebody else's question may bring our answer along
    self.turn:wait()
    snapshot, missing = lookup(self.known, requests)
  end
  if not missing then return snapshot end
  if not self.prefetched then
    self.prefetched = true
    for name, request in pairs(self.wanted) do missing[name] = missing[name] or request end
  end
  local generation = self.generation
  self.asking = true
  local ok, answers = pcall(ask, self, missing)
  self.asking = false
  self.turn:notify()
  if not ok then error.raise(answers) end
  -- a change in the meantime: these answers are for whoever asked, and no longer for others
  local known = self.generation == generation and self.known or {}
  for kind, values in pairs(answers) do
    known[kind] = known[kind] or {}
    for key, value in pairs(values) do known[kind][key] = value end
  end
  for _, request in ipairs(requests) do
    snapshot[request[1]][request[2]] = answers[request[1]][request[2]] == nil and
      snapshot[request[1]][request[2]] or answers[request[1]][request[2]]
  end
  return snapshot
end

return facts
