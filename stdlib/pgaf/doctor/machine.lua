-- What the machine that runs pgafrun brings along: the libraries, where scripts come from, a place for the drills'
-- journals, its clock.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local thresholds = require "pgaf.doctor.thresholds"

local machine = {}

local ABOUT = "this machine"
local LIMIT = 10

-- The oldest that the build takes; a program may run with others than it was built with.
local OLDEST = {
  ["Lua"] = "5.4.4", ["libuv"] = "1.43", ["libcurl"] = "7.81", ["libpq"] = "14", ["jansson"] = "2.13",
  ["OpenSSL"] = "3.0",
}

---Is version a at least b? "7.88.1" and "7.81": number by number.
---@param a string
---@param b string
---@return boolean
function machine.at_least(a, b)
  local have, want = {}, {}
  for n in a:gmatch "%d+" do have[#have + 1] = tonumber(n) end
  for n in b:gmatch "%d+" do want[#want + 1] = tonumber(n) end
  for i, n in ipairs(want) do
    if (have[i] or 0) ~= n then return (have[i] or 0) > n end
  end
  return true
end

---Reads what `pgafrun --version` prints.
---@param text string
---@return string own, { name: string, version: string }[] libraries
function machine.read_versions(text)
  local own, libraries = nil, {}
  for name, version in text:gmatch "(%a[%w-]*) (%d[%w.]*)[^\n]*" do
    if not own then own = version else libraries[#libraries + 1] = { name = name, version = version } end
  end
  return own, libraries
end

local function look_at_libraries(page)
  local program_file = fs.realpath "/proc/self/exe"
  local own, libraries = machine.read_versions(process.run { program_file, "--version" }.stdout)
  local told = {}
  for i, library in ipairs(libraries) do
    told[i] = library.name .. " " .. library.version
    local oldest = OLDEST[library.name]
    if oldest and not machine.at_least(library.version, oldest) then
      page:missing(("%s is older than %s, which %s needs"):format(told[i], oldest, program_file),
        "install the distribution's current packages, then build again: ./bootstrap build")
    end
  end
  page:ok(("pgafrun %s with %s"):format(own, table.concat(told, ", ")))
  if program.version ~= own then
    page:problem(("%s is %s by now, and this run is still %s"):format(program_file, own, program.version),
      "start pgafrun again")
  end
end

local function look_at_scripts(page)
  page:ok("scripts and their library come from " .. program.roots[1])
  if program.roots[2] then
    page:ok(("what is missing there is looked for in %s"):format(table.concat(program.roots, ", ", 2)))
  end
end

local function existing(path)
  while path ~= "/" and not fs.stat(path) do path = path:match "^(.+)/[^/]*$" or "/" end
  return path
end

---Bytes of the file system a folder is on.
---@param folder string
---@return number? total, number? free
function machine.room(folder)
  local found = process.run { "df", "-Pk", "--", folder, extend_env = { LC_ALL = "C" }, timeout = LIMIT }
  local total, free = found.stdout:match "\n%S+%s+(%d+)%s+%d+%s+(%d+)"
  if not total then return nil end
  return tonumber(total) * 1024, tonumber(free) * 1024
end

local function look_at_state(page)
  local state, home = process.getenv "XDG_STATE_HOME", process.getenv "HOME"
  local base = state and state:sub(1, 1) == "/" and state or home and home ~= "" and home .. "/.local/state"
  if not base then
    return page:missing("neither HOME nor XDG_STATE_HOME is set: drills have no place for their journals",
      "export XDG_STATE_HOME=/var/lib/pgafrun")
  end
  local folder = base .. "/pgafrun"
  local there = existing(folder)
  if process.run({ "test", "-w", there }).code ~= 0 then
    return page:missing(("drills keep their journals in %s, and %s cannot be written by %s"):format(folder, there,
      process.self().user), ("give that folder to %s, or set XDG_STATE_HOME"):format(process.self().user))
  end
  page:ok("drills keep their journals in " .. folder)
  local total, free = machine.room(there)
  if total then
    thresholds.disk(page, "the disk of " .. folder, total, free, "make room on " .. there)
  end
end

local function look_at_clock(page)
  local ok, told = pcall(process.run, { "timedatectl", "show", "-p", "NTPSynchronized", "--value", timeout = LIMIT })
  local answer = ok and told.code == 0 and told.stdout:match "%a+"
  if answer == "yes" then
    page:ok "its clock is synchronised"
  elseif answer == "no" then
    page:warning("its clock is not synchronised", "timedatectl set-ntp true, or install chrony")
  else
    page:unknown("whether its clock is synchronised cannot be told here: timedatectl does not answer")
  end
end

---@return pgaf.doctor.Check[]
function machine.checks()
  local function check(name, look) return { about = ABOUT, check = name, limit = LIMIT, look = look } end
  return {
    check("libraries", look_at_libraries), check("scripts", look_at_scripts), check("journals", look_at_state),
    check("clock", look_at_clock),
  }
end

return machine
