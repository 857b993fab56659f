-- time-limit: 600
-- Every generic resource on a real container: what it finds before, what it does, that it finds it done, and that it
-- finds what somebody changed by hand. All under a formation name of its own, deleted at the end, however it ends.

local error = require "pgafrun.error"
local facts = require "pgaf.facts"
local fs = require "pgafrun.fs"
local play = require "pgaf.play"
local report = require "pgaf.play.report"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local container = dofile(here .. "/lib/container.lua")

local group <close> = task.group()
local box <close> = container.new(group, "pgaf-live-resources")
local node, target, NAME = box.node, box.target, box.name

local function sh(script) return node:run(script).stdout end

local function probe(made) return box:probe(made) end

local function converge(made, tell) return box:converge(made, tell) end

-- What somebody did by hand is found and mended.
local function drift(made, script)
  sh(script)
  return converge(made)
end

local function expect(kind, f, ...)
  local ok, raised = pcall(f, ...)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(raised, kind), tostring(raised))
  return raised
end

local T = {}

function T.test_01_file()
  local made = resource.file { path = "/etc/a b", content = "one\n", mode = "0644", group = "adm" }
  converge(made)
  lu.assertEquals(sh "cat '/etc/a b'; stat -c '%a %U %G' '/etc/a b'", "one\n644 root adm\n")
  local _, changes = drift(made, "echo two >>'/etc/a b'; chmod 600 '/etc/a b'")
  lu.assertEquals(changes[1], {
    what = "/etc/a b", before = "(8 bytes, not for everybody to read)", after = "(4 bytes, not for everybody to read)",
  })
  lu.assertEquals(changes[2], { what = "/etc/a b: mode", before = "0600", after = "0644" })
  _, changes = drift(made, "echo two >>'/etc/a b'")
  lu.assertEquals(changes, { { what = "/etc/a b", before = "one\ntwo\n", after = "one\n" } })
  drift(made, "chown nobody '/etc/a b'")
  drift(made, "rm '/etc/a b'")
  converge(resource.file { path = "/etc/a b", state = "absent" })
  local password = secret.value "a-password-of-the-live-test"
  _, changes = converge(resource.file { path = "/etc/password", content = password })
  lu.assertTrue(changes[1].secret)
  lu.assertEquals(sh "cat /etc/password", secret.reveal(password))
  expect("config", probe, resource.file { path = "/etc", state = "absent" })
end

function T.test_01b_a_file_takes_the_place_of_what_is_none()
  sh "echo one >/etc/real; ln -s real /etc/sym; mkfifo /etc/pipe"
  local made = resource.file { path = "/etc/sym", content = "one\n" }
  converge(made)
  lu.assertEquals(sh "stat -c %F /etc/sym /etc/real", "regular file\nregular file\n")
  converge(resource.file { path = "/etc/pipe", content = "one\n" })
  converge(resource.file { path = "/etc/back\\slash", content = "one\n" })
  converge(resource.file { path = "/etc/back\\slash", state = "absent" })
end

function T.test_01c_the_group_is_the_owners_own()
  local made = resource.file { path = "/etc/owned", content = "x", user = "nobody" }
  converge(made)
  local _, changes = drift(made, "chgrp adm /etc/owned")
  lu.assertEquals(changes, { { what = "/etc/owned: group", before = "adm", after = "nogroup" } })
  drift(resource.template { path = "/etc/owned", text = "x" }, "chgrp adm /etc/owned")
  made = resource.directory { path = "/srv/owned", user = "nobody" }
  converge(made)
  drift(made, "chgrp adm /srv/owned")
  lu.assertEquals(sh "stat -c '%U %G' /srv/owned", "nobody nogroup\n")
end

function T.test_02_file_of_this_machine()
  local folder = fs.mkdtemp "pgafrun-resources-"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  local bytes = ("\0\1\2\255\n"):rep(20000)
  fs.write(folder .. "/blob", bytes)
  converge(resource.file { path = "/etc/blob", source = folder .. "/blob" })
  lu.assertEquals(node:pull "/etc/blob", bytes)
end

function T.test_03_directory()
  local made = resource.directory { path = "/srv/app/data", user = "nobody", group = "adm", mode = "2750" }
  converge(made)
  lu.assertEquals(sh "stat -c '%a %U %G' /srv/app/data", "2750 nobody adm\n")
  drift(made, "chmod 700 /srv/app/data")
  drift(made, "rmdir /srv/app/data")
  sh "touch /srv/app/data/x"
  local gone = resource.directory { path = "/srv/app/data", state = "absent" }
  local difference, snapshot = probe(gone)
  expect("command", gone.apply, gone, target, difference, snapshot)
  converge(resource.directory { path = "/srv/app/data", state = "absent", recurse = true })
  drift(resource.directory { path = "/srv/app", mode = "0755" }, "chmod 2755 /srv/app")
  sh "ln -s app /srv/link"
  drift(resource.directory { path = "/srv/link", mode = "0750" }, "chmod 700 /srv/app")
  lu.assertEquals(sh "stat -c '%F' /srv/link; stat -c '%a' /srv/app; rm /srv/link", "symbolic link\n750\n")
  converge(resource.directory { paths = { "/srv/x1", "/srv/x1/y" } })
  converge(resource.directory { paths = { "/srv/x1", "/srv/x1/y" }, state = "absent" })
end

function T.test_04_link()
  local made = resource.link { path = "/etc/app", target = "/srv/app" }
  converge(made)
  drift(made, "ln -sfn /tmp /etc/app")
  lu.assertEquals(sh "readlink /etc/app", "/srv/app\n")
  sh "rm /etc/app; touch /etc/app"
  expect("config", probe, made)
  converge(resource.link { path = "/etc/app", target = "/srv/app", force = true })
  converge(resource.link { path = "/etc/app", state = "absent" })
end

function T.test_05_template()
  local made = resource.template {
    path = "/etc/app.conf", mode = "0644",
    text = "name = <%= target.name %>\n<% for _, one in ipairs(ports) do %>\nport = <%= one %>\n<% end %>\n",
    values = { ports = { 80, 443 } },
  }
  converge(made)
  lu.assertEquals(sh "cat /etc/app.conf", ("name = %s\nport = 80\nport = 443\n"):format(NAME))
  drift(made, "sed -i s/443/444/ /etc/app.conf")
  made = resource.template { path = "/etc/app.conf", text = "a\n<%= missing %>" }
  lu.assertStrContains(expect("template", probe, made).message, ":2: ")
end

function T.test_06_line_and_block()
  sh "printf 'a=1\\n#b=2\\nc=3' >/etc/lines; chmod 604 /etc/lines; chown nobody:adm /etc/lines"
  local line = resource.line { path = "/etc/lines", pattern = "^#?b=", line = "b=7" }
  local _, changes = converge(line)
  lu.assertEquals(changes, { { what = "/etc/lines", before = "a=1\n#b=2\nc=3", after = "a=1\nb=7\nc=3" } })
  converge(resource.line { path = "/etc/lines", line = "a2=1", insert_after = "^a=" })
  converge(resource.line { path = "/etc/lines", pattern = "^c", state = "absent" })
  lu.assertEquals(sh "cat /etc/lines; stat -c '%a %U %G' /etc/lines", "a=1\na2=1\nb=7\n604 nobody adm\n")
  drift(line, "sed -i 's/^b=.*/b=8/' /etc/lines")
  local block = resource.block { path = "/etc/lines", lines = function(on) return { on.name, "$x `y`" } end }
  converge(block)
  drift(block, "sed -i '/x/d' /etc/lines")
  converge(resource.block { path = "/etc/lines", state = "absent" })
  lu.assertEquals(sh "cat /etc/lines", "a=1\na2=1\nb=7\n")
  expect("config", probe, resource.line { path = "/etc/none", line = "x" })
end

function T.test_06b_owner_and_mode_stay_as_they_are_behind_a_link()
  sh "cd /etc; echo a=1 >real.conf; chown 47110:47111 real.conf; chmod 600 real.conf; ln -s real.conf sym.conf"
  converge(resource.line { path = "/etc/sym.conf", line = "b=2" })
  lu.assertEquals(sh "cd /etc; stat -c %F sym.conf; stat -c '%a %u %g' real.conf; cat real.conf",
    "symbolic link\n600 47110 47111\na=1\nb=2\n")
  drift(resource.line { path = "/etc/sym.conf", line = "b=2", mode = "0640" }, "chmod 600 /etc/real.conf")
  lu.assertEquals(sh "stat -c '%a %u %g' /etc/real.conf", "640 47110 47111\n")
  -- an owner without a name, and no link
  converge(resource.block { path = "/etc/real.conf", lines = { "c=3" } })
  lu.assertEquals(sh "stat -c '%a %u %g' /etc/real.conf", "640 47110 47111\n")
end

function T.test_06c_what_cannot_be_edited_is_left_as_it_is()
  local before = "# begin pgafrun\nold\nuser line 1\n"
  sh "printf '# begin pgafrun\\nold\\nuser line 1\\n' >/etc/orphan; printf 'a\\0b\\nc\\n' >/etc/nul"
  expect("config", probe, resource.block { path = "/etc/orphan", lines = { "ours" } })
  lu.assertEquals(sh "cat /etc/orphan", before)
  expect("config", probe, resource.line { path = "/etc/nul", line = "z" })
end

function T.test_06d_lines_with_secrets()
  local password = secret.value "a-password-of-the-live-test"
  local _, changes = converge(resource.line { path = "/etc/pw", create = true, line = "pw=" .. password })
  lu.assertTrue(changes[1].secret)
  converge(resource.block { path = "/etc/pw", lines = { "also=" .. password } })
  lu.assertEquals(sh "stat -c %a /etc/pw; sed s/a-password-of-the-live-test/OK/ /etc/pw",
    "600\npw=OK\n# begin pgafrun\nalso=OK\n# end pgafrun\n")
end

function T.test_07_user_and_group()
  converge(resource.group { name = "team", gid = 4711 })
  drift(resource.group { name = "team", gid = 4711 }, "groupmod -g 4712 team")
  local made = resource.user {
    name = "app", system = true, home = "/srv/app", shell = "/bin/sh", comment = "An application", groups = { "team" },
    password = secret.value "$6$abcdefgh$0123456789012345678901234567890123456789",
  }
  local _, changes = converge(made)
  lu.assertTrue(changes[#changes].secret)
  lu.assertEquals(sh "getent passwd app | cut -d: -f5-; id -Gn app", "An application:/srv/app:/bin/sh\napp team\n")
  _, changes = drift(made, "usermod -s /bin/false -c Nobody app; gpasswd -d app team >/dev/null")
  lu.assertEquals(#changes, 3)
  drift(made, "usermod -p '!' app")
  sh "usermod -aG adm app"
  lu.assertNil((probe(made)))
  converge(resource.user { name = "app", groups = { "team" }, only_groups = true })
  lu.assertEquals(sh "id -Gn app", "app team\n")
  lu.assertStrContains(expect("command", converge, resource.user { name = "x", groups = { "nogroup-at-all" } }).message,
    "nogroup-at-all")
  converge(resource.user { name = "app", state = "absent" })
  converge(resource.group { name = "team", state = "absent" })
end

local UNIT = "[Unit]\nDescription=A test\n[Service]\nExecStart=/bin/sleep %d\n[Install]\nWantedBy=multi-user.target\n"

function T.test_08_unit_and_service()
  local unit = resource.unit { name = "sleeper.service", content = UNIT:format(4711) }
  expect("missing", probe, resource.service { name = "sleeper", state = "started" })
  lu.assertNil((probe(resource.service { name = "sleeper", state = "stopped" })))
  converge(unit)
  local service = resource.service { name = "sleeper", state = "started", enabled = true }
  local _, changes = converge(service)
  lu.assertEquals(#changes, 2)
  lu.assertEquals(sh "systemctl is-active sleeper; systemctl is-enabled sleeper", "active\nenabled\n")
  drift(service, "systemctl stop sleeper")
  drift(service, "systemctl disable sleeper 2>/dev/null")
  drift(service, "systemctl kill -s KILL sleeper; sleep 0.3")
  -- changed by hand, and systemd was not told
  drift(unit, "sed -i s/4711/4712/ /etc/systemd/system/sleeper.service; systemctl daemon-reload")
  drift(unit, "sleep 1; touch /etc/systemd/system/sleeper.service")
  local dropin = resource.unit { name = "sleeper.service", dropin = "nice", content = "[Service]\nNice=7\n" }
  converge(dropin)
  local restart = resource.service { name = "sleeper", state = "restarted" }
  local before = sh "systemctl show -p MainPID --value sleeper"
  local difference, snapshot = probe(restart)
  lu.assertTrue(restart.settles)
  restart:apply(target, difference, snapshot)
  lu.assertNotEquals(sh "systemctl show -p MainPID --value sleeper", before)
  lu.assertEquals(sh "ps -o ni= -p $(systemctl show -p MainPID --value sleeper)", "  7\n")
  converge(resource.limits { unit = "sleeper.service", limits = { nofile = { soft = 2000, hard = 3000 } } })
  restart:apply(target, difference, select(2, probe(restart)))
  lu.assertStrMatches(sh "grep 'open files' /proc/$(systemctl show -p MainPID --value sleeper)/limits",
    ".*2000%s+3000.*\n")
  converge(resource.service { name = "sleeper", state = "stopped", enabled = false })
  converge(resource.unit { name = "sleeper.service", dropin = "nice", state = "absent" })
end

function T.test_09_a_service_that_does_not_start_tells_its_log()
  sh [[printf '[Service]\nExecStart=/bin/sh -c "echo this is why; exit 3"\nType=oneshot\n' \
    >/etc/systemd/system/broken.service; systemctl daemon-reload]]
  local made = resource.service { name = "broken", state = "started" }
  local difference, snapshot = probe(made)
  local raised = expect("command", made.apply, made, target, difference, snapshot)
  lu.assertStrContains(raised.message, "this is why")
  lu.assertStrContains(raised.hint, "journalctl -u broken.service")
end

function T.test_10_command()
  local made = resource.command {
    script = [[cat >/srv/made; echo "$WORD in $PWD" >>/srv/made]], creates = "/srv/made", cwd = "/srv", stdin = "in\n",
    env = { WORD = secret.value "a-secret-word" },
  }
  converge(made)
  lu.assertEquals(sh "cat /srv/made", "in\na-secret-word in /srv\n")
  drift(made, "rm /srv/made")
  converge(resource.command { argv = { "rm", "--", "/srv/made" }, removes = "/srv/made" })
  converge(resource.command { script = "touch /srv/other", unless = "test -e /srv/other", only_if = "test -d /srv" })
  lu.assertNil((probe(resource.command { script = "false", only_if = "test -e /none" })))
  made = resource.command { script = "echo out; echo err >&2; exit 5" }
  lu.assertEquals((probe(made)), "runs every time")
  local raised = expect("command", made.apply, made, target, "", {})
  lu.assertEquals(raised.code, "5")
  lu.assertStrContains(raised.message, "err")
  made = resource.command { script = "true", creates = "/srv/never" }
  made:apply(target, (probe(made)))
  lu.assertEquals((probe(made)), "/srv/never is not there")
  -- neither its own argument list nor that of the shell it runs in has the secret
  converge(resource.command {
    script = [[printf '%s\n' "$WORD" | grep -aqF -f - /proc/[0-9]*/cmdline && exit 1; touch /srv/unseen]],
    env = { WORD = secret.value "a-secret-word" }, creates = "/srv/unseen",
  })
  made = resource.command { argv = { "echo", secret.value "a-secret-word" } }
  lu.assertStrContains(made.problems[1], "every user can read argument lists")
end

function T.test_11_sysctl()
  local values = { ["net.ipv4.ip_local_port_range"] = "20000 50000", ["net.ipv4.tcp_keepalive_time"] = 600 }
  local made = resource.sysctl { file = "60-test", values = values }
  converge(made)
  lu.assertEquals(sh "cat /proc/sys/net/ipv4/tcp_keepalive_time", "600\n")
  local _, changes = drift(made, "echo 700 >/proc/sys/net/ipv4/tcp_keepalive_time")
  lu.assertEquals(changes, { { what = "net.ipv4.tcp_keepalive_time", before = "700", after = "600" } })
  drift(made, "echo x >>/etc/sysctl.d/60-test.conf")
  converge(resource.sysctl { file = "60-test", state = "absent" })
  made = resource.sysctl { values = { ["vm.swappiness"] = 3 } }
  lu.assertStrContains(expect("system", probe, made).message, "of the host")
  converge(resource.sysctl { values = { ["vm.swappiness"] = 3 }, runtime = false })
  made = resource.sysctl { values = { ["vm.no_such"] = 3 } }
  lu.assertEquals(expect("system", probe, made).code, "ENOENT")
end

function T.test_12_limits()
  local made = resource.limits { domain = "@adm", limits = { nofile = 4096, memlock = "unlimited" } }
  converge(made)
  lu.assertStrContains(sh "cat /etc/security/limits.d/pgafrun-group-adm.conf", "@adm hard memlock unlimited\n")
  drift(made, "sed -i s/4096/1/ /etc/security/limits.d/pgafrun-group-adm.conf")
  converge(resource.limits { domain = "@adm", state = "absent" })
end

function T.test_13_mount()
  sh "mkdir -p '/srv/a b'; echo '# kept' >>/etc/fstab"
  local made = resource.mount { path = "/srv/a b", device = "tmpfs", fstype = "tmpfs", options = "size=1m" }
  converge(made)
  lu.assertEquals(sh "stat -f -c %T '/srv/a b'; stat -f -c '%b * %S' '/srv/a b'", "tmpfs\n256 * 4096\n")
  drift(made, "umount '/srv/a b'")
  converge(resource.mount { path = "/srv/a b", device = "tmpfs", fstype = "tmpfs", options = "size=2m" })
  lu.assertEquals(sh "stat -f -c '%b * %S' '/srv/a b'", "512 * 4096\n")
  converge(resource.mount { path = "/srv/a b", device = "tmpfs", fstype = "tmpfs", options = "size=2m",
    state = "unmounted" })
  converge(resource.mount { path = "/srv/a b", state = "absent" })
  lu.assertStrContains(sh "cat /etc/fstab", "# kept\n")
  made = resource.mount { path = "/srv/a b", device = "/dev/none", fstype = "ext4" }
  local difference, snapshot = probe(made)
  expect("command", made.apply, made, target, difference, snapshot)
  lu.assertEquals((probe(made)), difference)
end

function T.test_14_package()
  local told = {}
  local made = resource.package { names = { "hello" }, versions = { hello = "2.*" } }
  converge(made, function(text, fraction)
    lu.assertTrue(fraction == nil or fraction >= 0 and fraction <= 1, text)
    told[#told + 1] = text
  end)
  converge(resource.package { names = { "hello" }, hold = true })
  drift(resource.package { names = { "hello" }, hold = true }, "apt-mark unhold hello")
  made = resource.package { names = { "hello" }, versions = { hello = "99.*" }, cache_valid_time = 86400 }
  local difference, snapshot = probe(made)
  lu.assertEquals(difference, "to install: hello=99.*")
  local raised = expect("command", made.apply, made, target, difference, snapshot)
  lu.assertStrContains(raised.message, "`apt-get install hello=99.*` ended with status 100")
  lu.assertStrContains(raised.hint, "resource.apt_source adds one")
  lu.assertTrue(snapshot.apt.age < 600)
  converge(resource.package { names = { "hello" }, hold = false })
  converge(resource.package { names = { "hello" }, state = "absent", purge = true })
  converge(resource.package { names = { "hello" }, cache_valid_time = 86400 })
  lu.assertEquals(sh "ls /run | grep -c pgafrun-apt || :", "0\n")
  lu.assertStrContains(told[1], "fetching apt's lists")
end

-- A machine's daily update, or the installation of a run that was killed.
function T.test_14_package_while_another_apt_is_at_work()
  local told = {}
  local function while_held(path, made)
    sh(([[
      perl -e 'use Fcntl; open F, ">>", "%s"; $l = pack "ssx4qqi", F_WRLCK, 0, 0, 0, 0; fcntl F, F_SETLKW, $l or die;
        mkdir "/run/held"; sleep 2; rmdir "/run/held"' >/dev/null 2>&1 &
      until [ -d /run/held ]; do sleep 0.02; done]]):format(path))
    converge(made, function(text) told[text] = true end)
    lu.assertEquals(sh "ls /run | grep -x held || :", "")
  end
  sh "apt-get -q -y purge hello 2>&1"
  while_held("/var/lib/apt/lists/lock", resource.package { names = { "hello" } })
  lu.assertTrue(told["waiting for another apt or dpkg"])
  while_held("/var/lib/dpkg/lock", resource.package { names = { "hello" }, hold = true })
  while_held("/var/lib/dpkg/lock-frontend", resource.package { names = { "hello" }, hold = false })
  while_held("/var/lib/dpkg/lock-frontend", resource.package { names = { "hello" }, state = "absent" })
  while_held("/var/cache/apt/archives/lock", resource.package { names = { "hello" }, cache_valid_time = 86400 })
end

local KEY = [[
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawNZWxYJKwYBBAHaRw8BAQdA0amUPVY0opICgIcIxaHeTICz/i7CY0wmqE8N
b5JK+x60BXNtYWxsiJAEExYIADgWIQReXn4qcpjY8R+RRNAhmiXubOAx+gUCawNZ
WwIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRAhmiXubOAx+sLYAP4hYj8c
yOsdkoXTP36JygxLHbJbtSQdf8EOpTeqJjkb3gEAp4R3vtZvCIPrWhDl5CfE7zNL
jNQUEWF7QKPkVNhZRAI=
=63tp
-----END PGP PUBLIC KEY BLOCK-----
]]

function T.test_15_apt_source()
  local folder = fs.mkdtemp "pgafrun-resources-"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  fs.write(folder .. "/key.asc", KEY)
  local options = {
    name = "example", url = "https://packages.example.org/debian", suffix = "-pgdg", key = folder .. "/key.asc",
    fingerprint = "5E5E7E2A7298D8F11F9144D0219A25EE6CE031FA", architectures = { "amd64" },
  }
  local made = resource.apt_source(options)
  converge(made)
  lu.assertEquals(sh "cat /etc/apt/sources.list.d/example.sources", "Types: deb\n" ..
    "URIs: https://packages.example.org/debian\nSuites: bookworm-pgdg\nComponents: main\nArchitectures: amd64\n" ..
    "Signed-By: /etc/apt/keyrings/example.asc\n")
  drift(made, "sed -i s/main/contrib/ /etc/apt/sources.list.d/example.sources")
  drift(made, "rm /etc/apt/keyrings/example.asc")
  options.fingerprint = ("0"):rep(40)
  expect("untrusted", probe, resource.apt_source(options))
  converge(resource.apt_source { name = "example", state = "absent" })
end

function T.test_16_facts_of_the_machine_in_one_round_trip()
  local asked, run = 0, node.run
  node.run = function(...)
    asked = asked + 1
    return run(...)
  end
  local _ <close> = setmetatable({}, { __close = function() node.run = nil end })
  target.facts:forget()
  local machine = target.facts:machine { "bash" }
  lu.assertEquals(asked, 1)
  lu.assertEquals({ machine.os.id, machine.os.version, machine.os.codename }, { "debian", "12", "bookworm" })
  lu.assertEquals(machine.hostname, NAME)
  lu.assertEquals(machine.architecture, (sh "dpkg --print-architecture"):match "%S+")
  lu.assertTrue(machine.memory.total > 1 << 20 and machine.cpus >= 1)
  lu.assertEquals(machine.addresses[1].address, node:address())
  lu.assertNotNil(machine.packages.bash)
  lu.assertNil(machine.postgresql.server)
end

-- Runs a play on the container; counts of its items, and how often the node was asked.
local function play_run(p, mode)
  local asked, run = 0, node.run
  node.run = function(...)
    asked = asked + 1
    return run(...)
  end
  local _ <close> = setmetatable({}, { __close = function() node.run = nil end })
  target.facts = facts.new(node, 5432)
  local result = p:plan():run(report.new { write = function() end }, mode or {})
  lu.assertFalse(result.failed)
  return result.counts, asked, result
end

function T.test_17_all_of_it_in_a_play()
  local restarts = 0
  local p = play.new { title = "A service", targets = { target } }
  p:step { "group", resource = resource.group { name = "sleepers", system = true } }
  p:step {
    "user", needs = "group",
    resource = resource.user { name = "sleeper", group = "sleepers", system = true, shell = "/usr/sbin/nologin" },
  }
  p:step { "package", resource = resource.package { names = { "hello" }, hold = true } }
  p:step { "folder", needs = "user", resource = resource.directory { path = "/srv/sleeper", user = "sleeper" } }
  p:step {
    "settings", needs = "folder", notify = "restart",
    resource = resource.template {
      path = "/srv/sleeper/conf", text = "for = <%= target.name %>\n", user = "sleeper",
    },
  }
  p:step {
    "unit", needs = "user", notify = "restart",
    resource = resource.unit { name = "long.service", content = UNIT:format(99999) .. "[Service]\nUser=sleeper\n" },
  }
  p:step {
    "limits", needs = "unit", notify = "restart",
    resource = resource.limits { unit = "long.service", limits = { nofile = 1234 } },
  }
  p:step {
    "service", needs = { "limits", "settings" },
    resource = resource.service { name = "long", state = "started", enabled = true },
  }
  p:step { "once", needs = "folder", resource = resource.command { script = "date >/srv/once", creates = "/srv/once" } }
  p:handler { "restart", needs = "service", run = function(on)
    restarts = restarts + 1
    on.node:run "systemctl restart long"
    return nil, true
  end }
  local counts = play_run(p, { check = true })
  lu.assertEquals(counts.changed, 0)
  lu.assertTrue(counts.would >= 4 and counts.failed == 0)
  lu.assertEquals(sh "getent passwd sleeper || echo none; test -e /etc/systemd/system/long.service || echo none",
    "none\nnone\n")
  counts = play_run(p)
  lu.assertEquals({ counts.changed, counts.failed, restarts }, { 10, 0, 1 })
  local asked
  counts, asked = play_run(p)
  lu.assertEquals({ counts.changed, counts.ok, asked, restarts }, { 0, 9, 1, 1 })

  -- what somebody changed by hand, and nothing else, is told and mended
  sh "sed -i s/99999/88888/ /etc/systemd/system/long.service; systemctl daemon-reload"
  local result
  counts, asked, result = play_run(p, { check = true, diff = true })
  lu.assertEquals({ counts.changed, counts.would >= 1, asked }, { 0, true, 1 })
  for _, item in ipairs(result.items) do
    if item.step[1] == "unit" then
      lu.assertStrContains(item.changes[1].before, "88888")
      lu.assertStrContains(item.changes[1].after, "99999")
    elseif item.step[1] ~= "restart" then
      lu.assertEquals(item.status, "ok", item.step[1])
    end
  end
  counts = play_run(p)
  lu.assertEquals({ counts.changed, restarts }, { 2, 2 })
  lu.assertStrContains(sh "systemctl show -p ExecStart long", "99999")
end

test.run("resources", T)
