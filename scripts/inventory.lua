-- Shows what each node of an inventory ends up with, and which file, line or group each value came from.
--
--     pgafrun inventory -i scripts/inventory/staging.lua
--     pgafrun inventory -i scripts/inventory/staging.lua --host pgaf-stage-1

local cli = require "pgaf.cli"
local error = require "pgafrun.error"
local explain = require "pgaf.inventory.explain"
local json = require "pgafrun.json"
local program = require "pgafrun.program"
local suggest = require "pgaf.suggest"

local SPEC = {
  name = "inventory",
  description = "Show what each node of an inventory ends up with, and where each value came from.",
  epilog = [[
Secrets are shown as <secret>. Values that no file has are marked "default".
Exit codes: 0; 64 a mistake in the inventory or in the arguments.]],
  inventory = false,
}

local args = cli.parse(SPEC, function(parser)
  parser:option("--host", "One node alone."):argname "NAME"
  parser:flag("--graph", "The groups, as a tree.")
  parser:flag("--json", "One JSON object.")
  parser:flag("--defaults", "Also what no file says.")
  parser:flag("--strict", "What an Ansible inventory says and has no place here is a mistake.")
  cli.inventory_options(parser)
end, ...)

local function usage(message) error.raise { kind = "usage", message = message } end

local inventory = cli.inventory(SPEC.name, args, { strict = args.strict, quiet = true })

local function value_text(value)
  if type(value) == "string" then return value end
  return json.encode(value)
end

local function print_values(list, indent)
  local width = 0
  local function is_shown(one) return args.defaults or one.from ~= "default" end
  for _, one in ipairs(list) do width = math.max(width, is_shown(one) and #one.key or 0) end
  for _, one in ipairs(list) do
    if is_shown(one) then
      print(("%s%-" .. math.min(width, 40) .. "s  %s  [%s]"):format(indent, one.key, value_text(one.value), one.from))
    end
    for _, place in ipairs(one.overrides or {}) do
      print(("%s%s  instead of the one of %s"):format(indent, (" "):rep(math.min(width, 40)), place))
    end
  end
end

local function print_host(host)
  print(("%s  %s; groups: %s"):format(host.name, host.role == "monitor" and "the monitor" or "a data node",
    table.concat(host.groups, ", ")))
  print_values(host.keys, "  ")
  if #host.vars > 0 then
    print("  variables:")
    print_values(host.vars, "    ")
  end
end

local function print_notes()
  local titles = {
    unmapped = "has no place here", kept = "kept as variables of the nodes (target.vars)",
    needless = "not needed here",
  }
  for _, kind in ipairs { "unmapped", "kept", "needless" } do
    local lines = {}
    for _, note in ipairs(inventory.notes) do
      if note.kind == kind then
        lines[#lines + 1] = ("  %s: %s"):format(explain.place(note.file, note.line), note.message)
      end
    end
    if #lines > 0 then print(("\n%s:\n%s"):format(titles[kind], table.concat(lines, "\n"))) end
  end
end

local function find_host(name)
  local host = explain.host(inventory, name)
  if host then return host end
  local near = suggest(name, inventory.groups.all)
  return usage(("inventory: %s has no node %q%s"):format(program.inventory, name,
    near and (", did you mean %q?"):format(near) or ": " .. table.concat(inventory.groups.all, ", ")))
end

if args.json then
  local all = explain.all(inventory)
  if args.host then
    find_host(args.host)
    all = all.hosts[args.host]
  end
  print(json.encode(all, { indent = 2 }))
elseif args.host then
  print_host(find_host(args.host))
elseif args.graph then
  print(table.concat(explain.graph(inventory), "\n"))
else
  local files = explain.files(inventory)
  print("read from " .. table.concat(files, ", then "))
  print_values(explain.formation(inventory), "  ")
  for _, name in ipairs(inventory.groups.all) do
    print()
    print_host(explain.host(inventory, name))
  end
  print_notes()
end
return 0
