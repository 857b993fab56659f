-- time-limit: 300
-- Resources of the system where what they find is not what one expects: units without files, keys of others, packages
-- held back or half gone, folders mounted twice. A real container and apt sources of its own, deleted at the end.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local resource = require "pgaf.resource"
local task = require "pgafrun.task"
local test = require "pgaf.test"

local lu = test.lu

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local container = dofile(here .. "/lib/container.lua")

local group <close> = task.group()
local box <close> = container.new(group, "pgaf-live-otherwise")
local node, target = box.node, box.target

local function sh(script) return node:run(script).stdout end
local function probe(made) return box:probe(made) end
local function converge(made) return box:converge(made) end

-- It is refused when it is looked at, before anything is touched.
local function refused(kind, made)
  local ok, raised = pcall(probe, made)
  lu.assertFalse(ok, "nothing was raised")
  lu.assertTrue(error.is(raised, kind), tostring(raised))
  return raised
end

-- It is found to differ, and applying it fails.
local function fails(kind, made)
  local difference, snapshot = probe(made)
  lu.assertIsString(difference)
  local ok, raised = pcall(made.apply, made, target, difference, snapshot)
  lu.assertFalse(ok, "nothing was raised")
  lu.assertTrue(error.is(raised, kind), tostring(raised))
  return raised
end

local T = {}

local UNIT = "[Unit]\nDescription=A test\n[Service]\nExecStart=%s\n[Install]\nWantedBy=multi-user.target\n"

function T.test_01_a_service_whose_unit_is_gone_still_runs()
  converge(resource.unit { name = "ok.service", content = UNIT:format "/bin/sleep 4711" })
  converge(resource.service { name = "ok", state = "started", enabled = true })
  converge(resource.unit { name = "ok.service", state = "absent" })
  local difference = converge(resource.service { name = "ok", state = "stopped", enabled = false })
  lu.assertEquals(difference, "ok.service is enabled, is active")
  lu.assertEquals(sh "pgrep -f 'sleep 471[1]'; ls /etc/systemd/system/multi-user.target.wants | grep ok.service || :",
    "")
  refused("missing", resource.service { name = "ok", state = "started" })
end

function T.test_02_a_script_of_init_d()
  sh [[printf '#!/bin/sh\n### BEGIN INIT INFO\n# Provides: old\n# Required-Start:\n# Required-Stop:\n%s' \
'# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
# Short-Description: old
### END INIT INFO
' >/etc/init.d/old; chmod 755 /etc/init.d/old; update-rc.d old defaults; systemctl daemon-reload]]
  converge(resource.service { name = "old", enabled = false })
  converge(resource.service { name = "old", enabled = true })
end

function T.test_03_a_service_that_dies_at_once_tells_why()
  converge(resource.unit { name = "dies.service", content = UNIT:format '/bin/sh -c "echo this is why; exit 7"' })
  local dies = resource.service { name = "dies", state = "started" }
  local raised
  -- a machine that is busy may take longer to run it than anybody waits for its end
  repeat
    sh "systemctl stop dies; systemctl reset-failed dies || :"
    local _, snapshot = probe(dies)
    local ok, problem = pcall(dies.apply, dies, target, "", snapshot)
    raised = not ok and problem
  until raised
  lu.assertTrue(error.is(raised, "command"), tostring(raised))
  lu.assertStrContains(raised.message, "failed (failed), result exit-code, exit status 7")
  lu.assertStrContains(raised.message, "this is why")
  converge(resource.unit { name = "once.service", content = "[Service]\nType=oneshot\nExecStart=/bin/true\n" })
  lu.assertStrContains(fails("command", resource.service { name = "once", state = "started" }).message,
    "RemainAfterExit=yes")
  local again = resource.service { name = "once", state = "restarted" }
  again:apply(target, probe(again))
end

function T.test_04_a_unit_that_systemd_refuses()
  local good = resource.unit { name = "app.service", content = UNIT:format "/bin/true" }
  local bad = resource.unit { name = "app.service", content = "[Unit]\nDescription=No command\n[Service]\nNice=1\n" }
  lu.assertStrContains(fails("config", bad).message, "LoadState=bad-setting")
  lu.assertEquals(sh "ls /etc/systemd/system/app.service 2>/dev/null || :", "")
  converge(good)
  lu.assertStrContains(fails("config", bad).message, "has no ExecStart=")
  lu.assertNil((probe(good)))
  local computed = resource.unit { name = "cron.service", dropin = "x", content = function() return "[Service\n" end }
  lu.assertStrContains(refused("config", computed).message, "line 1: this is no [Section]: [Service")
end

-- A source of our own: tpkg in two versions with a configuration, tdep that needs it, tprov that provides tvirtual.
local REPOSITORY = [[
mkdir -p /srv/repo /srv/away; mv /etc/apt/sources.list /etc/apt/sources.list.d/* /srv/away/ 2>/dev/null
cd /srv/repo
build() {
  mkdir -p "$1/DEBIAN" "$1/etc"
  printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n%s' "$2" "$3" "$4" \
    >"$1/DEBIAN/control"
  if [ "$2" = tpkg ]; then echo x >"$1/etc/tpkg.conf"; echo /etc/tpkg.conf >"$1/DEBIAN/conffiles"; fi
  dpkg-deb -b "$1" "$1.deb" >/dev/null
  { dpkg-deb -f "$1.deb"; echo "Filename: ./$1.deb"; echo "Size: $(stat -c %s "$1.deb")"
    echo "SHA256: $(sha256sum <"$1.deb" | cut -d' ' -f1)"; echo; } >>Packages
}
build one tpkg 1.0 ''
build two tpkg 2.0 ''
build dep tdep 1.0 'Depends: tpkg
'
build prov tprov 1.0 'Provides: tvirtual
'
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/own.list]]

local function state() return sh "dpkg-query -W -f '${db:Status-Want} ${db:Status-Status} ${Version}' tpkg" end

function T.test_05_packages_that_are_held()
  sh(REPOSITORY)
  converge(resource.package { names = { "tpkg" }, versions = { tpkg = "1.*" }, hold = true })
  converge(resource.package { names = { "tpkg" }, versions = { tpkg = "2.0" }, hold = true })
  lu.assertEquals(state(), "hold installed 2.0")
  converge(resource.package { names = { "tpkg" }, versions = { tpkg = "1.0" } })
  lu.assertEquals(state(), "hold installed 1.0")
  converge(resource.package { names = { "tdep" } })
  lu.assertEquals(state(), "hold installed 1.0")
end

function T.test_06_packages_that_take_others_along_and_what_they_leave()
  local difference, changes, done = converge(resource.package { names = { "tpkg" }, state = "absent" })
  lu.assertEquals(difference, "to remove: tpkg; also removes tdep")
  lu.assertEquals(done, "removed tpkg; also removes tdep")
  lu.assertEquals(changes[2].what, "package tdep")
  lu.assertStrContains(state(), "config-files")
  converge(resource.package { names = { "tpkg" }, state = "absent", purge = true })
  lu.assertEquals(sh "ls /etc/tpkg.conf 2>/dev/null || :", "")
end

function T.test_07_a_virtual_package_is_refused()
  lu.assertStrContains(fails("command", resource.package { names = { "tvirtual" } }).message,
    "tvirtual is a virtual package; name one that provides it: tprov")
  lu.assertEquals(sh "dpkg-query -W tprov 2>/dev/null || :", "")
end

function T.test_08_lists_that_could_not_be_fetched_are_not_fresh()
  sh [[echo 'deb http://127.0.0.1:9/none ./' >/etc/apt/sources.list.d/none.list
touch -d '2 days ago' /var/lib/apt/lists]]
  local made = resource.package { names = { "tprov" }, cache_valid_time = 86400 }
  lu.assertStrContains(fails("command", made).message, "127.0.0.1")
  lu.assertTrue(target.facts:fetch({ { "apt", "age" } }).apt.age > 86400)
  sh "rm /etc/apt/sources.list.d/none.list"
  converge(made)
end

local ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%s-----END PGP PUBLIC KEY BLOCK-----\n"
local KEYS = {
  { "5E5E7E2A7298D8F11F9144D0219A25EE6CE031FA", ARMOUR:format [[
mDMEawNZWxYJKwYBBAHaRw8BAQdA0amUPVY0opICgIcIxaHeTICz/i7CY0wmqE8N
b5JK+x60BXNtYWxsiJAEExYIADgWIQReXn4qcpjY8R+RRNAhmiXubOAx+gUCawNZ
WwIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRAhmiXubOAx+sLYAP4hYj8c
yOsdkoXTP36JygxLHbJbtSQdf8EOpTeqJjkb3gEAp4R3vtZvCIPrWhDl5CfE7zNL
jNQUEWF7QKPkVNhZRAI=
=63tp
]] },
  { "B1A1DBC6ADC2F747D8847CE3926F9180118E4045", ARMOUR:format [[
mDMEawQSKRYJKwYBBAHaRw8BAQdA57g3zrUQgEp1W3njjXih72WJJLKE6VvepaAw
xzM8U5m0BW90aGVyiJAEExYIADgWIQSxodvGrcL3R9iEfOOSb5GAEY5ARQUCawQS
KQIbAQULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRCSb5GAEY5ARWXAAP42patH
rAtdbcuXs/jN98dyuQHFqUNhCtyaERUlpjcezgEAsyJDPq0IuO25H2NBY9c/IKdT
Xsze4dfR7bflEvjhtAg=
=DeYA
]] },
}

function T.test_09_an_apt_source_gets_another_key()
  local folder = fs.mkdtemp "pgafrun-resources-"
  local _ <close> = setmetatable({}, { __close = function() fs.remove_tree(folder) end })
  for i, key in ipairs(KEYS) do fs.write(("%s/%d.asc"):format(folder, i), key[2]) end
  local function source(i, fingerprint)
    return resource.apt_source {
      name = "example", url = "https://packages.example.org/debian", suite = "./",
      key = ("%s/%d.asc"):format(folder, i), fingerprint = fingerprint or KEYS[i][1],
    }
  end
  local key, list = "/etc/apt/keyrings/example.asc", "/etc/apt/sources.list.d/example.sources"
  converge(source(1))
  lu.assertEquals(sh("cat " .. list), "Types: deb\nURIs: https://packages.example.org/debian\nSuites: ./\n" ..
    "Signed-By: /etc/apt/keyrings/example.asc\n")
  sh "apt-cache policy >/dev/null"
  lu.assertStrContains(converge(source(2)), KEYS[2][1])
  lu.assertEquals(node:pull(key), KEYS[2][2])
  lu.assertStrContains(refused("untrusted", source(2, KEYS[1][1])).message, "has fingerprint " .. KEYS[2][1])
  for _, damage in ipairs {
    "printf broken >" .. key, "chown nobody " .. key, "chown nobody " .. list, "chmod 600 " .. list,
  } do
    sh(damage)
    converge(source(2))
  end
  lu.assertStrContains(refused("file", source(3, ("0"):rep(40))).message, "3.asc cannot be read on this machine")
  converge(resource.apt_source { name = "example", state = "absent" })
end

function T.test_10_folders_that_are_mounted_elsewhere()
  sh "mkdir -p /srv/from /srv/other /srv/to /srv/m2 /srv/real; ln -s real /srv/link"
  local function mounts(path) return (sh("grep -c ' " .. path .. " ' /proc/self/mounts || :"):gsub("%s+$", "")) end
  local bind = resource.mount { path = "/srv/to", device = "/srv/from", fstype = "none", options = "bind" }
  converge(bind)
  sh "umount /srv/to; mount --bind /srv/other /srv/to"
  lu.assertStrContains(converge(bind), "is mounted from elsewhere")
  lu.assertEquals(mounts "/srv/to", "1")
  local function scratch(path, options)
    return resource.mount { path = path, device = "tmpfs", fstype = "tmpfs", options = options }
  end
  converge(scratch("/srv/m2/", "size=1m"))
  lu.assertNil((probe(scratch("/srv/m2", "size=1m"))))
  lu.assertEquals(mounts "/srv/m2", "1")
  converge(scratch("/srv/link", "rw,size=1m"))
  lu.assertEquals(mounts "/srv/real", "1")
  sh "mount -o remount,ro /srv/link"
  local difference, changes = converge(scratch("/srv/link", "rw,size=1m"))
  lu.assertEquals(difference, "/srv/link has other options")
  lu.assertEquals(changes[1].before, "mounted ro")
end

function T.test_11_a_group_that_was_the_users_own()
  converge(resource.user { name = "u1" })
  converge(resource.user { name = "u1", group = "adm", groups = { "u1" } })
  lu.assertEquals(sh "id -Gn u1", "adm u1\n")
end

function T.test_12_settings_with_blanks_around_them()
  converge(resource.sysctl { file = "60-test", values = { ["net.ipv4.tcp_syncookies"] = " 2 " } })
  refused("system", resource.sysctl { file = "60-test", values = { ["net.ipv4.no_such"] = 1 } })
end

function T.test_13_conditions_of_commands()
  local mistake = resource.command { script = "touch /srv/ran", unless = "if [" }
  local fine = resource.command { script = "touch /srv/there", unless = "exec test -e /srv/there" }
  target.facts:forget()
  target.facts:want(mistake.reads)
  converge(fine)
  lu.assertStrContains(refused("config", mistake).message, "unless is no script that the shell of")
  refused("config", resource.command { script = "touch /srv/ran", only_if = "if [" })
end

test.run("resources_found_otherwise", T)
