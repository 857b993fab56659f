-- Resources by name: what their constructors check, and the texts that they edit.
local crypto = require "pgafrun.crypto"
local resource = require "pgaf.resource"
local secret = require "pgaf.secret"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

-- All problems of what was made, as one text.
local function problems(made) return table.concat(made.problems or {}, "\n") end

function T.test_a_name_that_does_not_exist_is_a_problem_and_no_error()
  lu.assertStrContains(problems(resource.flie { path = "/x" }), 'no resource "flie", did you mean "file"?')
  lu.assertStrContains(problems(resource.copy { path = "/x" }), 'it is called "file" here')
  lu.assertEquals(resource.flie({ path = "/x" }).name, "/x")
end

function T.test_mistakes_have_their_place()
  local here = debug.getinfo(1, "S").source:gsub("^@", "")
  local made = resource.flie { path = "/x" }
  lu.assertEquals(made.where, ("%s:%d"):format(here, debug.getinfo(1, "l").currentline - 1))
  made = resource.file { path = 1 }
  lu.assertEquals(made.where, ("%s:%d"):format(here, debug.getinfo(1, "l").currentline - 1))
  local function tail() return resource.file { path = 1 } end
  lu.assertNil(tail().where)
end

-- There nothing can wait, and so no file be looked at.
function T.test_a_module_that_is_being_required_can_make_resources()
  package.preload["a module of resources"] = function()
    return {
      resource.serivce { name = "x" }, resource.sysctll { values = {} },
      resource.template { path = "/x", source = "/no/such" }, resource.file { path = "/x", source = "/no/such" },
    }
  end
  local made = require "a module of resources"
  lu.assertStrContains(problems(made[1]), 'did you mean "service"')
  lu.assertStrContains(problems(made[2]), 'no resource "sysctll"')
  lu.assertNil(made[3].problems)
  lu.assertNil(made[4].problems)
end

function T.test_all_mistakes_in_parameters_are_told_at_once()
  local made = resource.file { pth = "/x", content = 3, mode = "rw", owner = "me", state = "gone" }
  local text = problems(made)
  for _, words in ipairs {
    'no parameter "pth", did you mean "path"?', "content wants a text, not number", "path is missing",
    'mode wants a mode in octal, in quotes: "0644", not "rw"', 'no parameter "owner": it is called "user" here',
    '"present" or "absent", not "gone"',
  } do lu.assertStrContains(text, words) end
  lu.assertErrorMsgContains("path is missing", made.probe, made)
end

function T.test_what_holds_between_parameters()
  lu.assertStrContains(problems(resource.file { path = "/x" }), "wants either content or source")
  lu.assertStrContains(problems(resource.line { path = "/x", line = "a", pattern = "[" }), "no Lua pattern")
  lu.assertStrContains(problems(resource.template { path = "/x", text = "a\n<% oh" }), "for /x:2: <% is never closed")
  lu.assertStrContains(problems(resource.template { path = "/x", source = "/no/such" }),
    "source: /no/such is not there")
  lu.assertStrContains(problems(resource.file { path = "/x", source = "/no/such" }), "source: /no/such is not there")
  lu.assertStrContains(problems(resource.file "x"), "wants its parameters in a table")
end

function T.test_units_that_systemd_would_not_take()
  lu.assertStrContains(problems(resource.unit { name = "x.foo", content = "[Unit]\n" }), "a kind that systemd has")
  lu.assertStrContains(problems(resource.limits { unit = "x.foo", limits = { nofile = 1 } }), "a kind that systemd has")
  for content, words in pairs {
    ["[Service\nExecStart=x\n"] = "content: line 1: this is no [Section]: [Service",
    ["# x\n\nNice=1\n[Service]\n"] = "content: line 3: a setting before the first [Section]: Nice=1",
    ["[Service]\nNice 1\n"] = "content: line 2: this is neither a [Section] nor a setting: Name=value: Nice 1",
  } do lu.assertStrContains(problems(resource.unit { name = "x.service", content = content }), words) end
  local long = "; remark\n[Service]\nExecStart=x \\\n  [y \\\n# remark\n  z\n\tNice = 1\nEnvironment=\n"
  lu.assertNil(resource.unit({ name = "x@.service", content = long }).problems)
  lu.assertEquals(resource.service({ name = "org.example", state = "started" }).reads[1][2], "org.example.service")
end

function T.test_limits_that_make_no_sense()
  for _, case in ipairs {
    { { nofile = {} }, "limits.nofile: wants soft, or hard, or both" },
    { { nofile = { soft = 20, hard = 10 } }, "limits.nofile: soft (20) is beyond hard (10)" },
    { { memlock = { soft = "unlimited", hard = 10 } }, "limits.memlock: soft (unlimited) is beyond hard (10)" },
    { { nofile = -1 }, "limits.nofile: wants at least 0" },
    { { nice = { soft = -10, hard = -5 } }, "limits.nice: soft (-10) is beyond hard (-5)" },
  } do lu.assertStrContains(problems(resource.limits { domain = "x", limits = case[1] }), case[2]) end
  lu.assertNil(resource.limits({ domain = "x", limits = { nice = { soft = 0, hard = -5 } } }).problems)
end

function T.test_a_flat_apt_source_has_no_components()
  local options = {
    name = "x", url = "https://x/y", suite = "./", key = "https://x/key", fingerprint = ("0"):rep(40),
    components = { "main" },
  }
  lu.assertStrContains(problems(resource.apt_source(options)), 'do not go with a suite that ends in "/"')
  lu.assertEquals(resource.apt_source.render(options, "bookworm"),
    "Types: deb\nURIs: https://x/y\nSuites: ./\nSigned-By: /etc/apt/keyrings/x.asc\n")
end

function T.test_what_a_function_makes_of_a_command_is_looked_at_too()
  local target = { name = "n", node = { name = "n", run = function() lu.fail "it was run" end } }
  for _, case in ipairs {
    { { script = function() return secret.env "HOME" end }, "it is a secret, which cannot be used here" },
    { { script = function() return 3 end }, "script of the command for n wants a text, not 3" },
    { { argv = function() return { "echo", secret.env "HOME" } end }, "a command takes secrets by env or stdin" },
  } do
    local made = resource.command(case[1])
    lu.assertErrorMsgContains(case[2], made.apply, made, target)
  end
end

function T.test_right_ones_have_no_problem()
  for _, made in ipairs {
    resource.file { path = "/x", content = "" }, resource.file { path = "/x", content = secret.value "abcdefgh" },
    resource.file { path = "/x", content = function() return "" end, mode = "644" },
    resource.line { path = "/x", line = "a" }, resource.block { path = "/x", lines = {} },
    resource.template { path = "/x", text = "<%= target.name %>" }, resource.link { path = "/x", target = "y" },
    resource.directory { paths = { "/x" } },
  } do
    lu.assertNil(made.problems, problems(made))
    lu.assertStrContains(made.name, "/x")
    lu.assertNotNil(made.kind)
  end
end

local edited = resource.line.edited

function T.test_a_line_takes_the_place_of_the_last_that_matches()
  local options = { pattern = "^#?%s*Port%s", state = "present" }
  lu.assertEquals(edited("#Port 22\nA\nPort 1\nB", options, "Port 5"), "#Port 22\nA\nPort 5\nB")
  lu.assertEquals(edited("Port 5\n", options, "Port 5"), "Port 5\n")
  lu.assertEquals(edited("A", options, "Port 5"), "A\nPort 5\n")
  lu.assertEquals(edited("", options, "Port 5"), "Port 5\n")
  lu.assertEquals(edited("Port 5\nPort 22\n", options, "Port 5"), "Port 5\nPort 5\n")
end

function T.test_a_pattern_of_what_is_replaced_replaces_once()
  local options = { pattern = "^#Port", state = "present" }
  lu.assertEquals(edited("#Port 1\n#Port 2\n", options, "Port 5"), "#Port 1\nPort 5\n")
  lu.assertEquals(edited("#Port 1\nPort 5\n", options, "Port 5"), "#Port 1\nPort 5\n")
end

function T.test_where_a_new_line_goes()
  local text = "[a]\nx\n[b]\ny\n"
  lu.assertEquals(edited(text, { insert_after = "^%[a%]" }, "new"), "[a]\nnew\nx\n[b]\ny\n")
  lu.assertEquals(edited(text, { insert_before = "^%[b%]" }, "new"), "[a]\nx\nnew\n[b]\ny\n")
  lu.assertEquals(edited(text, { insert_before = "BOF" }, "new"), "new\n" .. text)
  lu.assertEquals(edited(text, { insert_after = "^nowhere" }, "new"), text .. "new\n")
  lu.assertEquals(edited("last", { insert_after = "last" }, "new"), "last\nnew\n")
  lu.assertEquals(edited(text, { insert_after = "^%[a%]" }, "y"), text)
end

function T.test_lines_that_go()
  local options = { state = "absent", pattern = "swap" }
  lu.assertEquals(edited("a\nswap 1\nb\nswap 2", options), "a\nb\n")
  lu.assertEquals(edited("swap\n", options), "")
  lu.assertEquals(edited("a\n\nb", options), "a\n\nb")
  lu.assertEquals(edited("a\nb\n", { state = "absent" }, "b"), "a\n")
end

-- A target whose files are in a table.
local function target_with(content)
  local target = { name = "n", node = { name = "n" } }
  function target.node.push(_, path, text, options)
    target.pushed = { path, text, options.mode, options.user, options.group }
    content[path] = text
  end
  function target.node.pull(_, path) return content[path] end
  function target.facts()
    local facts = { file = {}, content = {}, link = {}, user = {} }
    setmetatable(facts.file, { __index = function(_, path)
      local text = content[path]
      return text and {
        type = "file", mode = target.mode or "0644", user = "u", group = "g", size = #text,
        sha256 = crypto.sha256(text),
      } or false
    end })
    facts.stat = facts.file
    setmetatable(facts.content, { __index = function(_, path) return content[path] or false end })
    return facts
  end
  return target
end

function T.test_a_block_between_its_marks()
  local content = { ["/etc/hosts"] = "127.0.0.1 localhost" }
  local target = target_with(content)
  local one = resource.block { path = "/etc/hosts", lines = { "10.0.0.1 a" } }
  local two = resource.block { path = "/etc/hosts", lines = { "x" }, name = "two" }
  for _, made in ipairs { one, two } do
    lu.assertNotNil(made:probe(target, target.facts()))
    made:apply(target, "", target.facts())
    lu.assertNil(made:probe(target, target.facts()))
  end
  local whole = "127.0.0.1 localhost\n# begin pgafrun\n10.0.0.1 a\n# end pgafrun\n" ..
    "# begin pgafrun two\nx\n# end pgafrun two\n"
  lu.assertEquals(content["/etc/hosts"], whole)
  lu.assertEquals({ table.unpack(target.pushed, 3) }, { "0644", "u", "g" })
  content["/etc/hosts"] = whole:gsub("10.0.0.1 a", "10.0.0.9 b") .. "after\n"
  lu.assertNotNil(one:probe(target, target.facts()))
  local changes = one:changes(target, target.facts())
  lu.assertEquals(#changes, 1)
  lu.assertEquals(changes[1].after, whole .. "after\n")
  resource.block({ path = "/etc/hosts", state = "absent" }):apply(target, "", target.facts())
  lu.assertEquals(content["/etc/hosts"],
    "127.0.0.1 localhost\n# begin pgafrun two\nx\n# end pgafrun two\nafter\n")
end

function T.test_a_file_that_is_not_there_is_made_only_where_that_was_said()
  local target = target_with {}
  local made = resource.line { path = "/none", line = "x" }
  lu.assertErrorMsgContains("/none is not there", made.probe, made, target, target.facts())
  made = resource.line { path = "/none", line = "x", create = true }
  lu.assertNotNil(made:probe(target, target.facts()))
  made = resource.line { path = "/none", line = "x", state = "absent" }
  lu.assertNil(made:probe(target, target.facts()))
end

function T.test_a_secret_file_tells_its_change_and_that_it_is_secret()
  local target = target_with { ["/key"] = "old" }
  local made = resource.file { path = "/key", content = secret.value "new-key-value" }
  local changes = made:changes(target, target.facts())
  lu.assertEquals(changes[1], { what = "/key", before = "old", after = "new-key-value", secret = true })
  lu.assertEquals(changes[2], { what = "/key: mode", before = "0644", after = "0600" })
end

function T.test_a_secret_in_a_line_or_a_block_is_written_and_not_shown()
  local password, content = secret.value "a-password-of-the-test", {}
  local target = target_with(content)
  for _, made in ipairs {
    resource.line { path = "/pw", line = "pw=" .. password, create = true },
    resource.block { path = "/pw", lines = { "[x]", "pw=" .. password } },
    resource.line { path = "/pw", line = function() return "pw2=" .. password end },
    resource.block { path = "/pw", name = "2", lines = function() return { "pw2=" .. password } end },
  } do
    lu.assertNil(made.problems, problems(made))
    lu.assertNotNil(made:probe(target, target.facts()))
    lu.assertTrue(made:changes(target, target.facts())[1].secret)
    made:apply(target, "", target.facts())
    lu.assertNil(made:probe(target, target.facts()))
    if not target.first_mode then target.first_mode = target.pushed[3] end
  end
  lu.assertEquals(target.first_mode, "0600")
  lu.assertEquals(content["/pw"], ("pw=P\n# begin pgafrun\n[x]\npw=P\n# end pgafrun\npw2=P\n" ..
    "# begin pgafrun 2\npw2=P\n# end pgafrun 2\n"):gsub("P", "a-password-of-the-test"))
end

function T.test_a_secret_that_became_its_mask_is_refused()
  local password = secret.value "a-password-of-the-test"
  for _, made in ipairs {
    resource.file { path = "/x", content = ("pw=%s"):format(password) },
    resource.line { path = "/x", line = "pw=" .. tostring(password) },
    resource.block { path = "/x", lines = { "a", ("pw=%s"):format(password) } },
    resource.command { script = ("login %s"):format(password) },
  } do lu.assertStrContains(problems(made), "a secret was made a text") end
  lu.assertStrContains(problems(resource.command { script = "login " .. password }), "by env or stdin")
  local target = target_with { ["/x"] = "" }
  local made = resource.file { path = "/x", content = function() return ("pw=%s"):format(password) end }
  lu.assertErrorMsgContains("a secret was made a text", made.probe, made, target, target.facts())
  made = resource.command { script = function() return "login " .. password end }
  lu.assertErrorMsgContains("cannot be used here", made.changes, made, target)
  lu.assertNil(resource.file({ path = "/x", content = secret.value "<secret>of its own</secret>" }).problems)
end

function T.test_what_not_everybody_may_read_is_not_shown()
  local target = target_with { ["/key"] = "old\n", ["/pw"] = "a=private\nb=1\n" }
  local function change_of(made) return made:changes(target, target.facts())[1] end
  local why = "not for everybody to read"
  local sizes = { what = "/key", before = ("(4 bytes, %s)"):format(why), after = ("(4 other bytes, %s)"):format(why) }
  lu.assertEquals(change_of(resource.file { path = "/key", content = "new\n" }), sizes)
  target.mode = "0640"
  lu.assertEquals(change_of(resource.file { path = "/key", content = "new\n", mode = "0644" }), sizes)
  lu.assertEquals(change_of(resource.template { path = "/key", text = "new\n", mode = "0644" }), sizes)
  lu.assertEquals(change_of(resource.file { path = "/key", state = "absent" }),
    { what = "/key", before = "(4 bytes, not for everybody to read)" })
  lu.assertEquals(change_of(resource.line { path = "/pw", line = "b=2", pattern = "^b=" }).before,
    "(14 bytes, not for everybody to read)")
  target.mode = "0644"
  lu.assertEquals(change_of(resource.file { path = "/key", content = "new\n", mode = "0644" }),
    { what = "/key", before = "old\n", after = "new\n" })
  lu.assertEquals(change_of(resource.file { path = "/key", content = "new\n", shown = true }).after, "new\n")
  lu.assertEquals(change_of(resource.line { path = "/pw", line = "b=2", pattern = "^b=", shown = false }).before,
    "(14 bytes, not for everybody to read)")
end

function T.test_a_content_that_cannot_be_shown_differs_all_the_same()
  local target = target_with { ["/bin"] = "a\0b", ["/big"] = ("a"):rep(300000) }
  local made = resource.file { path = "/bin", content = "a\0c", mode = "0644" }
  lu.assertEquals(made:changes(target, target.facts())[1],
    { what = "/bin", before = "(3 bytes, not shown)", after = "(3 other bytes, not shown)" })
  made = resource.file { path = "/big", content = ("b"):rep(300000), mode = "0644" }
  lu.assertEquals(made:changes(target, target.facts())[1],
    { what = "/big", before = "(300000 bytes, not shown)", after = "(300000 other bytes, not shown)" })
end

function T.test_marks_that_do_not_fit_together_are_refused()
  local marks = { a = "# begin pgafrun\n", z = "# end pgafrun\n" }
  for order, words in pairs {
    ["a-"] = 'line 1, "# begin pgafrun", begins a block that no line "# end pgafrun" ends',
    ["-z-"] = 'line 2, "# end pgafrun", ends a block that no line began',
    ["aa-z"] = 'line 2, "# begin pgafrun", begins a block that line 1 began',
    ["za"] = "line 1", ["azz"] = "line 3", ["az-az"] = "line 4",
  } do
    local content = { ["/x"] = order:gsub(".", { a = marks.a, z = marks.z, ["-"] = "user line\n" }) }
    local target = target_with(content)
    for _, state in ipairs { "present", "absent" } do
      local made = resource.block { path = "/x", lines = state == "present" and { "ours" } or nil, state = state }
      lu.assertErrorMsgContains(words, made.probe, made, target, target.facts())
    end
  end
end

function T.test_the_owner_behind_a_link_and_drift_of_it()
  local target = target_with { ["/sym"] = "a=1\n" }
  target.node.run = function() return { stdout = "/real\n" } end
  local facts = target.facts()
  facts.stat = {
    ["/sym"] = {
      type = "link", mode = "0777", user = "root", group = "root", size = 5,
      to = { type = "file", mode = "0640", user = "u", group = "4711", size = 4 },
    },
    ["/nowhere"] = { type = "link", mode = "0777", user = "root", group = "root", size = 5 },
  }
  resource.line({ path = "/sym", line = "b=2" }):apply(target, "", facts)
  lu.assertEquals(target.pushed, { "/real", "a=1\nb=2\n", "0640", "u", "4711" })
  lu.assertEquals(resource.line({ path = "/sym", line = "a=1", mode = "0600" }):probe(target, facts),
    "/sym has mode 0640, not 0600")
  lu.assertNil(resource.line({ path = "/sym", line = "a=1", mode = "0640" }):probe(target, facts))
  local made = resource.line { path = "/nowhere", line = "x", create = true }
  lu.assertErrorMsgContains("a link to what is not there", made.probe, made, target, facts)
end

function T.test_a_file_with_bytes_that_a_shell_loses_is_not_edited()
  local target = target_with { ["/x"] = "a\0b\nc\n" }
  local facts = target.facts()
  facts.content = { ["/x"] = "ab\nc\n" }
  local made = resource.line { path = "/x", line = "z" }
  lu.assertErrorMsgContains("bytes of value 0", made.probe, made, target, facts)
end

function T.test_versions_of_packages()
  local matches = resource.package.matches
  lu.assertTrue(matches("15.4-1.pgdg12+1", "15.4-1.pgdg12+1"))
  lu.assertTrue(matches("15.4-1.pgdg12+1", "15.*"))
  lu.assertTrue(matches("1:2.0~rc1", "*~rc*"))
  lu.assertFalse(matches("15.4-1", "15.4"))
  lu.assertFalse(matches("1554-1", "15.4-1"))
  lu.assertFalse(matches("115.4", "15.*"))
end

function T.test_the_progress_that_apt_tells()
  local read = resource.package.read_status
  lu.assertEquals({ read "dlstatus:2:40:Retrieving file 2 of 5" }, { "Retrieving file 2 of 5", 0.2 })
  lu.assertEquals({ read "pmstatus:libc6:amd64:60.0:Unpacking libc6:amd64" }, { "Unpacking libc6:amd64", 0.8 })
  lu.assertEquals({ read "pmstatus:tree:20.0:Installing tree (amd64)" }, { "Installing tree (amd64)", 0.6 })
  lu.assertEquals({ read "dlstatus:2:4" }, {})
  lu.assertEquals({ read "" }, {})
end

function T.test_limits_in_the_words_of_both()
  local limits = { nofile = { soft = 10, hard = 20 }, memlock = 64, core = "unlimited" }
  lu.assertStrContains(resource.limits.for_sessions { domain = "db", limits = limits }, "db soft memlock 64\n")
  lu.assertEquals(resource.limits.for_unit { limits = limits },
    "[Service]\nLimitCORE=infinity:infinity\nLimitMEMLOCK=65536:65536\nLimitNOFILE=10:20\n")
  lu.assertStrContains(resource.limits.for_unit { limits = { nice = 5 } }, "LimitNICE=+5:+5\n")
end

function T.test_lines_of_fstab()
  local with_line, mounted = resource.mount.with_line, resource.mount.mounted
  local text = "# /a is not this\n/dev/x\t/a\text4 defaults 0 0\n/dev/y /a\\040b xfs defaults 0 0\n"
  lu.assertEquals(with_line(text, "/a", "new"), "# /a is not this\nnew\n/dev/y /a\\040b xfs defaults 0 0\n")
  lu.assertEquals(with_line(text, "/a b", nil), "# /a is not this\n/dev/x\t/a\text4 defaults 0 0\n")
  lu.assertEquals(with_line(text, "/c", "new"), text .. "new\n")
  lu.assertEquals(mounted("a /x ext4 rw 0 0\nb /x\\040y xfs rw 0 0\nc /x tmpfs rw 0 0\n", "/x"),
    { device = "c", fstype = "tmpfs", access = "rw" })
end

function T.test_every_resource_there_is_can_be_loaded()
  lu.assertTrue(#resource.names() >= 6)
  for _, name in ipairs(resource.names()) do
    lu.assertEquals(resource[name].definition.kind, name, name .. " is no resource by definition")
  end
end

test.run("resource", T)
