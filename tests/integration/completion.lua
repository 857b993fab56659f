-- What Tab offers in a real bash and a real zsh.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local program = require "pgafrun.program"
local test = require "pgaf.test"

local lu = test.lu
local T = {}

local root = program.roots[1]
local folder = fs.mkdtemp "pgafrun-completion"
local binary = process.getenv "PGAFRUN_TEST_BINARY"

local function write(name, text) fs.write(("%s/%s"):format(folder, name), text) end

local function shell(...)
  local command = { ... }
  command.cwd, command.extend_env = folder, { PGAFRUN_PATH = root, HOME = folder, TERM = "dumb" }
  local result = process.run(command)
  lu.assertEquals(result.code, 0, result.stdout .. result.stderr)
  return result.stdout
end

local function set_of(text)
  local set = {}
  for word in text:gmatch "[^\r\n]+" do set[word] = true end
  return set
end

local BASH = [[
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_pgafrun
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"]]

-- The word at the end is the one that Tab is pressed at.
local function bash(...)
  return set_of(shell("bash", "-c", BASH, "bash", root .. "/completion/pgafrun.bash", binary, ...))
end

local function offers(set, ...)
  for _, word in ipairs { ... } do lu.assertTrue(set[word], word .. " is not offered") end
end

function T.test_bash_offers_scripts_by_name()
  local set = bash "s"
  offers(set, "state", "settings")
  lu.assertNil(set.doctor)
  offers(bash("-q", "-i", "x.lua", "doc"), "doctor")
end

function T.test_bash_offers_the_program_s_options()
  offers(bash "--", "--inventory", "--deadline", "--version")
  lu.assertEquals(bash("--log-format", ""), { text = true, json = true })
end

function T.test_bash_offers_files_for_an_inventory()
  offers(bash("-i", "inv"), "inventory of mine.lua")
  offers(bash("state", "--inventory", "inv"), "inventory of mine.lua")
  offers(bash("failover_drill", "--report", "inv"), "inventory of mine.lua")
  lu.assertEquals(bash("failover_drill", "--rto", ""), {})
end

function T.test_bash_offers_a_script_s_options()
  local set = bash("-i", "x.lua", "failover_drill", "--")
  offers(set, "--rto", "--budget", "--switch-back", "--vault-password-file", "--repair-timeout", "--help")
  lu.assertEquals(bash("state", "--js"), { ["--json"] = true })
end

function T.test_bash_offers_faults_for_a_drill()
  offers(bash("drill", "container-"), "container-kill", "container-freeze")
  offers(bash("campaign", "switchover", "power"), "power-cut")
end

-- A script of somebody's own may do anything when it is run.
function T.test_pressing_tab_runs_no_file()
  for _, name in ipairs { "state", "./own.lua", "own.lua" } do
    write(name, "require('pgafrun.fs').write('has-run', '')")
    bash(name, "--")
    lu.assertNil(fs.stat(folder .. "/has-run"), name)
    fs.remove(folder .. "/" .. name)
  end
end

-- zsh completes at a prompt alone: one is opened on a terminal of its own, Tab is pressed there, and what is listed is
-- read until the wanted text comes. When it does not come, the time limit of a process ends the test.
local ZSH = [=[
zmodload zsh/zpty || exit 70
zpty inner zsh -f -i
zpty -w inner "PROMPT= RPROMPT= fpath=($1 \$fpath); PATH=$2:\$PATH; autoload -U compinit; compinit -u -D; LISTMAX=0; \
stty columns 200 rows 200; unsetopt always_last_prompt zle_bracketed_paste; zstyle ':completion:*' list-grouped false; \
bindkey '^I' list-choices; echo rea''dy"
line=''
while zpty -r inner line; do [[ $line == *ready* ]] && break; done
zpty -n -w inner "$3"$'\t'
while zpty -r inner line; do
  [[ $line == *$4* ]] && exit
done
exit 71]=]

local function zsh_lists(line, wanted)
  shell("zsh", "-f", "-c", ZSH, "zsh", root .. "/completion", folder .. "/bin", line, wanted)
end

function T.test_zsh_offers_scripts_with_what_they_do() zsh_lists("pgafrun sta", "-- Shows a formation") end

function T.test_zsh_offers_a_script_s_options()
  zsh_lists("pgafrun -i x.lua failover_drill --", "--vault-password-file")
end

function T.test_zsh_offers_faults_and_files()
  zsh_lists("pgafrun drill container-", "container-freeze")
  zsh_lists("pgafrun -i inv", "inventory\\ of\\ mine.lua")
end

write("inventory of mine.lua", "return {}\n")
fs.mkdir(folder .. "/bin")
process.run { "ln", "-s", fs.realpath(binary), folder .. "/bin/pgafrun" }
local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
return test.run("completion", T)
