-- Templates: what they leave, and what their mistakes say.
local error = require "pgafrun.error"
local secret = require "pgaf.secret"
local template = require "pgaf.template"
local test = require "pgaf.test"
local lu = test.lu

local T = {}

local function render(text, values) return (template.compile(text, "app.conf.tmpl"):render(values or {})) end

local function fails(text, values, line, words)
  local ok, raised = pcall(render, text, values)
  lu.assertFalse(ok, "no error was raised")
  lu.assertTrue(error.is(raised, "template"), tostring(raised))
  lu.assertStrContains(raised.message, ("app.conf.tmpl:%d: "):format(line))
  lu.assertStrContains(raised.message, words)
end

function T.test_values()
  lu.assertEquals(render("a <%= 1 + 1 %> b <%= on %>\n", { on = true }), "a 2 b true\n")
  lu.assertEquals(render "", "")
  lu.assertEquals(render("<%= html %>", { html = "<b>&\"'" }), "<b>&\"'")
  lu.assertEquals(render("<%= quote.conf(x) %>", { x = "a'b" }), "'a''b'")
  lu.assertEquals(render "<%% and %>\n", "<% and %>\n")
end

function T.test_lines_with_statements_alone_leave_nothing()
  lu.assertEquals(render "<%# a remark\n  of two lines %>\none\n  <% local x = 1 %>  \ntwo <%= x %>\n", "one\ntwo 1\n")
  lu.assertEquals(render "a <% -- a remark too %>b\n", "a b\n")
  lu.assertEquals(render "one <%# not alone %>\ntwo\n", "one \ntwo\n")
end

function T.test_a_comment_ends_with_its_mark()
  lu.assertEquals(render "A<% local y = 1 -- note %>B<%= y -- value %>C\n", "AB1C\n")
  fails("A<% local y = 1 -- note %>\n<%= y -- value\n%><%= nope %>", nil, 3, 'there is no value "nope"')
end

function T.test_loops_and_conditions()
  local text = "# head\n<% for i, one in ipairs(list) do %>\n  <%= i %>: <%= one %>\n<% end %>\n" ..
    "  <% if more then %> <%# why %>\nmore\n  <% else %>\nno more\n  <% end %>\nend"
  lu.assertEquals(render(text, { list = { "x", "y" }, more = true }), "# head\n  1: x\n  2: y\nmore\nend")
  lu.assertEquals(render(text, { list = {}, more = false }), "# head\nno more\nend")
  lu.assertEquals(render("a <% if x then %>yes<% else %>no<% end %> b\n", { x = false }), "a no b\n")
end

function T.test_mistakes_name_the_line_of_the_template()
  fails("one\ntwo <%= nope %>\n", nil, 2, 'there is no value "nope"')
  fails("<% local x %>\n<%# r\nr %>\n\n<%= x %>", nil, 5, "the value is nil")
  fails("<% for i = 1, 2 do %>\n  <% end %>\n<%= {} %>\n", nil, 3, "a table is no text")
  fails("a\n<%= a.b.c %>\n", { a = {} }, 2, "index a nil value")
  fails("a\n\n<% if x then\n", nil, 3, "never closed")
  fails("a\n<%= 1, 2 %>\n", nil, 2, "expected")
  fails("a\n<% x = = 1 %>\nb\n", nil, 2, "unexpected symbol")
  fails("a\n<%= os.exit() %>", nil, 2, 'there is no value "os"')
  fails("a\n<%= %>", nil, 2, "unexpected symbol")
end

function T.test_what_a_function_raises_has_the_line_of_the_template()
  fails("a\n<%= quote.sh(x.y) %>", { x = {} }, 2, "quote.sh wants a text, not nil")
  fails("a\n<%= quote.conf(x) %>", { x = {} }, 2, "quote.conf wants a text, not a table")
  fails("a\n\n<%= f() %>", { f = function() _G.error "no such thing" end }, 3, "no such thing")
  fails("a\n<%= f() %>", { f = function() error.raise { kind = "file", message = "it is away" } end }, 2,
    "it is away")
end

function T.test_a_secret_makes_a_secret_of_the_text()
  local password = secret.value "hunter-2222"
  local made = template.compile("p = <%= p %>\n<% if also then %>\n<%= also %>\n<% end %>\n", "t")
  local text, is_secret = made:render { p = password, also = false }
  lu.assertEquals({ text, is_secret }, { "p = hunter-2222\n", true })
  text, is_secret = made:render { p = "public", also = false }
  lu.assertEquals({ text, is_secret }, { "p = public\n", false })
end

function T.test_a_secret_can_be_joined_and_quoted()
  local made = template.compile("<%= 'p=' .. quote.conf(p) %>\n<%= quote.sh(p) %> <%= quote.pgpass(p) %>", "t")
  local text, is_secret = made:render { p = secret.value "hunter's:2222" }
  lu.assertEquals({ text, is_secret }, { "p='hunter''s:2222'\n'hunter'\\''s:2222' hunter's\\:2222", true })
end

function T.test_a_secret_that_became_its_own_mask_is_not_written()
  fails("<%= tostring(p) %>", { p = secret.value "hunter-2222" }, 1, "join it by")
end

test.run("template", T)
