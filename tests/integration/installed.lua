-- What `cmake --install` leaves behind works without the checkout: program, scripts, manual pages, editors' settings.

local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local process = require "pgafrun.process"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local binary = fs.realpath(process.getenv "PGAFRUN_TEST_BINARY")
local prefix = fs.mkdtemp "pgafrun-installed"
local share = prefix .. "/share/pgafrun"

local function run(...) return process.run { ... } end

local function succeeds(...)
  local result = run(...)
  lu.assertEquals(result.code, 0, table.concat({ ... }, " ") .. "\n" .. result.stdout .. result.stderr)
  return result.stdout
end

-- Nothing of the checkout: neither its folder nor the one in the environment.
local function installed(...)
  local command = { prefix .. "/bin/pgafrun", ... }
  command.cwd = prefix
  command.env = {
    PATH = "/usr/bin:/bin", HOME = prefix, LANG = "C.UTF-8", ASAN_OPTIONS = process.getenv "ASAN_OPTIONS",
  }
  return process.run(command)
end

function T.test_1_it_installs()
  succeeds("cmake", "--install", binary:match "^(.*)/", "--prefix", prefix)
end

function T.test_2_its_scripts_are_its_own()
  local roots = installed("-e", 'print(require("pgafrun.program").roots[1])')
  lu.assertEquals(roots.stdout, fs.realpath(share) .. "\n", roots.stderr)
  local doctor = installed("doctor", "--json")
  local found = json.decode(doctor.stdout)
  lu.assertEquals(doctor.code, found.exit_code)
  for _, finding in ipairs(found.findings) do
    if finding.check == "scripts" then lu.assertStrContains(finding.text, fs.realpath(share)) end
  end
end

function T.test_3_editors_find_what_their_settings_name()
  local settings = json.decode(fs.read(share .. "/.luarc.json"))
  for _, folder in ipairs(settings["workspace.library"]) do lu.assertNotNil(fs.stat(share .. "/" .. folder), folder) end
  lu.assertNotNil(fs.stat(share .. "/docs/meta/task.lua"))
end

local PAGES = { "man1/pgafrun.1", "man7/pgafrun-scripts.7" }

-- As man shows it, without the marks of bold and underlined letters.
local function shown(page)
  return run("groff", "-ww", "-mandoc", "-Tutf8", "-P-cbu", "-rLL=200n", prefix .. "/share/man/" .. page)
end

-- Twice: what mandoc takes for right, groff may not.
function T.test_4_manual_pages_have_no_mistakes()
  for _, page in ipairs(PAGES) do
    lu.assertEquals(run("mandoc", "-Tlint", "-Wwarning", prefix .. "/share/man/" .. page).stdout, "")
    local result = shown(page)
    lu.assertEquals(result.code, 0)
    lu.assertEquals(result.stderr, "")
    lu.assertStrContains(result.stdout, "SYNOPSIS")
  end
end

function T.test_5_manual_pages_have_every_script_with_its_options()
  local text = shown("man7/pgafrun-scripts.7").stdout
  for _, file in ipairs(fs.list(share .. "/scripts")) do
    local name = file:match "^(.+)%.lua$"
    if name then lu.assertStrContains(text, "\n   " .. name .. "\n") end
  end
  lu.assertStrContains(text, "--repair-timeout SECONDS")
  lu.assertStrContains(text, "(default: 300)")
  local own = shown("man1/pgafrun.1").stdout
  for option in installed("--help").stdout:gmatch "%-%-%l[%l-]+" do lu.assertStrContains(own, option) end
end

function T.test_6_shells_find_their_completions()
  for _, path in ipairs { "bash-completion/completions/pgafrun", "zsh/site-functions/_pgafrun" } do
    lu.assertNotNil(fs.stat(prefix .. "/share/" .. path), path)
  end
end

local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(prefix) end })
return test.run("the installed copy", T)
