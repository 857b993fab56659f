-- What is so on a node, read in one round trip. Resources say beforehand which facts they look at; the first question
-- brings the answers to all of them, and a change makes them forgotten.

local throw = error
local crypto = require "pgafrun.crypto"
local error = require "pgafrun.error"
local json = require "pgafrun.json"
local literal = require("pgafrun.pg").quote_literal
local machine = require "pgaf.facts.machine"
local psql = require "pgaf.postgres.psql"
local quote = require "pgaf.quote"
local system = require "pgaf.facts.system"
local task = require "pgafrun.task"
local time = require "pgafrun.time"

local facts = {}

---@alias pgaf.facts.Request
---| { [1]: "file", [2]: string } path -> pgaf.facts.File or false: with the digest of its content
---| { [1]: "stat", [2]: string } path -> pgaf.facts.File or false: whatever is there, of any kind and size, never read
---| { [1]: "content", [2]: string } path -> text or false
---| { [1]: "sql", [2]: string, database: string, query: string, socket?: string, port?: integer, before?: string }
---  name -> decoded JSON value; false without an answer. Of the node's own server, unless a socket's folder or a port
---  are given; `before` are lines for psql, whose variables the query may use
---| { [1]: "sh", [2]: string, script: string } name -> output of a command, or false when it failed
---| { [1]: "service", [2]: "status" } -> { status, detail, ready }
---| { [1]: "link", [2]: string } path -> what the link points to, or false
---| { [1]: "user", [2]: string } name -> { uid, gid, comment, home, shell, groups } or false
---| { [1]: "group", [2]: string } name -> { gid } or false
---| { [1]: "unit", [2]: string } systemd's name -> { load, active, sub, enabled, needs_reload } or false; enabled is
---  "dangling" where the unit's file is gone and the link that starts it at a boot is not
---| { [1]: "sysctl", [2]: string } key -> { value, writable } or false; the value is "" where it cannot be read
---| { [1]: "dpkg", [2]: string } package -> { version?, held, some, residue } or false; version: of an installed one;
---  some: it is there, if only half installed; residue: only its configuration is
---| { [1]: "apt", [2]: "age" } -> seconds since apt's lists were fetched, or false

---@class pgaf.facts.File
---@field type string "file", "directory", "link", or another word of stat's: "fifo", "socket" ...
---@field mode string octal, four digits
---@field user string its name, or its number where it has no name
---@field group string the same
---@field size integer bytes
---@field to? pgaf.facts.File of a link: what it points to in the end, unless that is not there
---@field sha256? string of a file of up to 1 GiB, when it was asked for as "file"

---Answers by kind and key: snapshot.file["/etc/hosts"].
---@alias pgaf.Snapshot table<string, table<string, any>>

---@class pgaf.Facts
local Facts = {}
Facts.__index = Facts

---@param node pgaf.Node
---@param port integer PostgreSQL's: with the node's run folder the socket's name
---@param become? string the command that becomes the cluster's owner, where the session is another user's
---@return pgaf.Facts
function facts.new(node, port, become)
  return setmetatable({
    node = node, port = port, become = become, wanted = {}, known = {}, generation = 0, turn = task.condition(),
    forgotten_at = -math.huge,
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
  self.known, self.generation, self.prefetched, self.forgotten_at = {}, self.generation + 1, true, time.now()
end

---Forgets what was read before a moment, at which something changed elsewhere.
---@param moment number time.now()
function Facts:forget_before(moment)
  if moment > self.forgotten_at and (self.asking or next(self.known)) then self:forget() end
end

-- -------------------------------------------------------------------------------------------------- the questions

local KINDS = {
  "file", "stat", "content", "sql", "sh", "service", "link", "user", "group", "unit", "sysctl", "dpkg", "apt",
}

-- A table for each kind.
local function of_each_kind()
  local kinds = {}
  for _, kind in ipairs(KINDS) do kinds[kind] = {} end
  return kinds
end

local function by_kind(requests)
  local kinds = of_each_kind()
  for _, request in pairs(requests) do table.insert(kinds[request[1]], request) end
  for _, list in pairs(kinds) do
    table.sort(list, function(a, b) return a[2] < b[2] end)
  end
  return kinds
end

local keys = system.keys

-- Written for few processes: this script is what a second run consists of. Answers are lines "KIND ..."; files'
-- contents are read by the shell itself; psql runs as the cluster's owner, whoever the session is. A command of a
-- resource has a subshell of its own: whatever is wrong with it, and whatever it does (exec, exit), is its own answer.
local HEAD = [[
export LC_ALL=C
contents() {
  for file do
    [ -f "$file" ] && [ -r "$file" ] || continue
    printf 'content %s\n' "$file"
    while IFS= read -r line; do printf '= %s\n' "$line"; done <"$file"
    [ -z "$line" ] || printf '~ %s\n' "$line"
  done
}
answer() { (eval "$1") 2>/dev/null; echo " $?"; }
]]

-- What there is, and what links point to. Only files are read for their digest: a pipe would wait for its writer, and
-- what is larger is none of ours.
local FILES = [[
set -- %s
stat -c 'file %%F|0%%a|%%U|%%G|%%u|%%g|%%s|%%n' -- "$@" 2>/dev/null || :
for file do shift; [ ! -L "$file" ] || set -- "$@" "$file"; done
[ $# -eq 0 ] || stat -L -c 'to %%F|0%%a|%%U|%%G|%%u|%%g|%%s|%%n' -- "$@" 2>/dev/null || :]]
local SUMS = [[
echo sums; find %s -maxdepth 0 -type f -size -1048577k -exec sha256sum -- {} + 2>/dev/null || :; echo 'sums end']]

-- The server a question is for: the node's own, unless it names another.
local function server_of(request)
  return (request.socket or "") .. ":" .. (request.port or "")
end

-- A database that is not there is passed over: psql would end at it, and leave those after it without an answer.
local IN_DATABASE = [[
select count(*) > 0 as there from pg_database where datname = %s and datallowconn \gset
\if :there
\connect -reuse-previous=on "dbname=%s"]]

-- The questions from `first` to `last`, which are for one server: one psql, from database to database.
local function questions_of_server(list, first, last, become)
  local server, database = list[first], list[first].database
  if list[last].database ~= database then database = "postgres" end
  local lines = {
    ("(%s%s"):format(server.socket and ("PGHOST=%s; "):format(quote.sh(server.socket)) or "",
      server.port and ("PGPORT=%d"):format(server.port) or ":"),
    'if [ -S "$PGHOST/.s.PGSQL.$PGPORT" ]; then',
    ("%s psql -XAtq -d %s 2>/dev/null <<'END_OF_SQL' || :"):format(become or "as_owner", quote.sh(database)),
  }
  local here = database
  for i = first, last do
    local request = list[i]
    if request.database ~= here then
      if here ~= database then lines[#lines + 1] = "\\endif" end
      here = request.database
      lines[#lines + 1] = IN_DATABASE:format(literal(here), (psql.conninfo(here):gsub('"', '""')))
    end
    lines[#lines + 1] = request.before
    -- JSON on one line; encoded, because a text in it may hold anything
    lines[#lines + 1] = ("select 'sql %d ' || translate(encode(convert_to((%s)::text, 'UTF8'), 'base64'), E'\\n', '');"
      ):format(i, request.query)
  end
  if here ~= database then lines[#lines + 1] = "\\endif" end
  lines[#lines + 1] = "END_OF_SQL\nfi)"
  return table.concat(lines, "\n")
end

-- The database that always is there comes first: the others are reached from it.
local function sql_script(list, become)
  local function rank(request) return (request.database == "postgres" and "0 " or "1 ") .. request.database end
  table.sort(list, function(a, b)
    local of_a, of_b = server_of(a), server_of(b)
    if of_a ~= of_b then return of_a < of_b end
    if a.database ~= b.database then return rank(a) < rank(b) end
    return a[2] < b[2]
  end)
  local parts, first = {}, 1
  for i = 1, #list do
    if i == #list or server_of(list[i]) ~= server_of(list[i + 1]) then
      parts[#parts + 1] = questions_of_server(list, first, i, become)
      first = i + 1
    end
  end
  return table.concat(parts, "\n")
end

local function script_for(kinds, become, question, bindir)
  local lines = { HEAD }
  local function add(format, ...) lines[#lines + 1] = format:format(...) end
  if #kinds.file + #kinds.stat > 0 then
    add(FILES, keys(table.move(kinds.stat, 1, #kinds.stat, #kinds.file + 1, { table.unpack(kinds.file) })))
  end
  if #kinds.file > 0 then add(SUMS, keys(kinds.file)) end
  if #kinds.content > 0 then add("contents %s", keys(kinds.content)) end
  for i, request in ipairs(kinds.sh) do
    -- its status is the last word of what it wrote: that of the pipe would be base64's
    add("out=$(answer %s | base64 -w0); printf 'sh %d %%s\\n' \"$out\"", quote.sh(request.script), i)
  end
  for _, kind in ipairs(KINDS) do
    if system.ASK[kind] and #kinds[kind] > 0 then lines[#lines + 1] = system.ASK[kind](kinds[kind]) end
  end
  if question and #kinds.service > 0 then add("echo service; %s; echo 'service end'", question) end
  if #kinds.sql > 0 then
    -- Debian's own psql is a Perl script that looks for the right one, and takes several times as long as the answers
    if bindir then add("PATH=%s:$PATH", quote.sh(bindir)) end
    add("%s\n%s", psql.AS_OWNER, sql_script(kinds.sql, become))
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---------------------------------------------------------------------------------------------------- the answers

local READ = setmetatable({}, { __index = system.READ })

local function read_file(rest)
  local kind, mode, user, group, uid, gid, size, path = rest:match "^(.-)|(%d+)|(.-)|(.-)|(%d+)|(%d+)|(%d+)|(.*)$"
  return {
    type = kind:find "^regular" and "file" or kind == "symbolic link" and "link" or kind,
    mode = ("%04o"):format(tonumber(mode, 8)), size = math.tointeger(size),
    user = user == "UNKNOWN" and uid or user, group = group == "UNKNOWN" and gid or group,
  }, path
end

-- Where it was asked for both ways, both are answered.
function READ.file(answers, rest)
  for _, kind in ipairs { "file", "stat" } do
    local file, path = read_file(rest)
    if answers[kind][path] ~= nil then answers[kind][path] = file end
  end
end

function READ.to(answers, rest)
  for _, kind in ipairs { "file", "stat" } do
    local file, path = read_file(rest)
    if answers[kind][path] then answers[kind][path].to = file end
  end
end

function READ.content(answers, path)
  answers.reading = path
  answers.content[path] = {}
end

-- A line of the file; "~" is the last one, without a line break.
READ["="] = function(answers, line) table.insert(answers.content[answers.reading], line .. "\n") end
READ["~"] = function(answers, line) table.insert(answers.content[answers.reading], line) end

function READ.sh(answers, rest, kinds)
  local index, encoded = rest:match("^(%d+) ?(.*)$")
  local output, status = crypto.base64_decode(encoded):match "^(.*) (%d+)\n$"
  if status == "0" then answers.sh[kinds.sh[tonumber(index)][2]] = output end
end

function READ.sql(answers, rest, kinds)
  local index, encoded = rest:match("^(%d+) ?(.*)$")
  answers.sql[kinds.sql[tonumber(index)][2]] = json.decode(crypto.base64_decode(encoded))
end

-- A backslash before the digest says that the name's own backslashes are doubled.
local function read_sum(answers, line)
  local escaped, digest, path = line:match "^(\\?)(%x+) [ *](.*)$"
  if escaped == "\\" then path = path:gsub("\\\\", "\\") end
  if digest and answers.file[path] then answers.file[path].sha256 = digest end
end

local function parse(output, kinds)
  local answers = of_each_kind()
  for kind, list in pairs(kinds) do
    for _, request in ipairs(list) do answers[kind][request[2]] = false end
  end
  local section -- of lines in another program's words
  local service = {}
  for line in output:gmatch("[^\n]+") do
    local kind, rest = line:match("^(%S+) ?(.*)$")
    if kind == "sums" or kind == "service" then
      section = rest == "" and kind or nil
    elseif section == "sums" then
      read_sum(answers, line)
    elseif section then
      service[#service + 1] = line
    elseif READ[kind] then
      READ[kind](answers, rest, kinds)
    else
      error.raise { kind = "protocol", operation = "facts", message = ("an answer nobody asked for: %s"):format(line) }
    end
  end
  answers.reading = nil
  for path, lines in pairs(answers.content) do
    if lines then answers.content[path] = table.concat(lines) end
  end
  return answers, table.concat(service, "\n")
end

local function ask(self, requests)
  local kinds = by_kind(requests)
  local service = #kinds.service > 0 and self.node:service()
  local question = service and service.QUESTION
  local answers, told = parse("", kinds), ""
  local to_ask = question ~= nil
  for kind, list in pairs(kinds) do to_ask = to_ask or kind ~= "service" and #list > 0 end
  if to_ask then
    local paths = self.node:paths()
    local result = self.node:run(script_for(kinds, self.become, question, paths.bindir), {
      user = "root", timeout = 60, env = { PGHOST = paths.run, PGPORT = tostring(self.port) },
    })
    answers, told = parse(result.stdout, kinds)
  end
  if question then
    answers.service.status = service.read(told)
  elseif service then
    local status, detail = service:status()
    answers.service.status = { status = status, detail = detail, ready = service:is_installed() }
  end
  return answers
end

local function lookup(known, requests)
  local snapshot = of_each_kind()
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
  if not ok then throw(answers, 0) end
  -- a change in the meantime: these answers are for whoever asked, and no longer for others
  local known = self.generation == generation and self.known or {}
  for kind, values in pairs(answers) do
    known[kind] = known[kind] or {}
    for key, value in pairs(values) do known[kind][key] = value end
  end
  for _, request in ipairs(requests) do
    local kind, key = request[1], request[2]
    if answers[kind][key] ~= nil then snapshot[kind][key] = answers[kind][key] end
  end
  return snapshot
end

---Asks for all that will be wanted, before anybody does. Raises what fetch raises.
function Facts:prefetch()
  local requests = {}
  for _, request in pairs(self.wanted) do requests[#requests + 1] = request end
  self:fetch(requests)
end

---What the node is: operating system, size, addresses, packages, PostgreSQL; one round trip, or none when it is known.
---@param packages? string[] whose versions are wanted as well: names, or patterns of the shell
---@return pgaf.Machine
function Facts:machine(packages)
  local requests = machine.requests(packages)
  local answers = self:fetch(requests)
  return machine.read(answers.sh[requests[1][2]], answers.sql[requests[2][2]])
end

return facts
