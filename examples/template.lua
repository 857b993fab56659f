-- Templates: a text with values in it, and what their mistakes say.

local error = require "pgafrun.error"
local template = require "pgaf.template"

local TEXT = [[
# <%= name %>
<%# lines with statements alone leave nothing behind %>
<% for _, server in ipairs(servers) do %>
server <%= server.address %>:<%= server.port or 5432 %><% if server.backup then %> backup<% end %>
<% end %>
log = <%= quote.conf(log) %>
]]

local made = template.compile(TEXT, "servers.tmpl")
io.write((made:render {
  name = "application", log = "it's here",
  servers = { { address = "10.0.0.1" }, { address = "10.0.0.2", port = 5433, backup = true } },
}))

local ok, raised = pcall(made.render, made, { name = "application", servers = {} })
assert(not ok and error.is(raised, "template"))
print(raised.message)
