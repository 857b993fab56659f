-- The passwords that only the formation itself needs: made once, and kept on the monitor's node, beside each other, in
-- files that PostgreSQL's user alone can read. One that the inventory names goes before the kept one.

local throw = error
local error = require "pgafrun.error"
local failure = require "pgaf.failure"
local inventories = require "pgaf.inventory"
local rules = require "pgaf.autofailover.rules"
local schema = require "pgaf.inventory_schema"
local secret = require "pgaf.secret"

local passwords = {}

local NAMES = { "monitor", "replication", "probe" }

local function path(formation, name) return ("%s/%s_password"):format(formation.monitor.paths.home, name) end

local function given_for(inventory, key)
  if key == "application.password" then return inventory.application.password end
  return inventory[key]
end

-- The text; or nil, and why it cannot be had or is not allowed.
local function look(inventory, value)
  local read, text = failure.pcall(secret.reveal, value)
  if read then
    local refusal = rules.password_refusal(inventory, text)
    if refusal then return nil, ("(from %s) %s"):format(secret.source(value), refusal) end
    return text
  end
  if not error.is(text) or error.is(text, "cancelled") then throw(text, 0) end
  return nil, ("cannot be read (from %s): %s%s"):format(secret.source(value), text.message,
    text.hint and ("; " .. text.hint) or "")
end

---A secret of the inventory, revealed and allowed. Raises kind "inventory" with the key and its line.
---@param inventory pgaf.Inventory
---@param value pgaf.Secret
---@param key string "application.password"
---@return string
function passwords.reveal(inventory, value, key)
  local text, problem = look(inventory, value)
  return text or inventories.refuse(inventory, { { path = key, message = problem } })
end

---Reads every secret that the inventory names, before anything is touched. Raises kind "inventory" with all that
---cannot be had or are not allowed, each with its key and line.
---@param inventory pgaf.Inventory
function passwords.check(inventory)
  local problems = {}
  for _, key in ipairs(schema.secrets) do
    local value = given_for(inventory, key)
    if value then
      local text, problem = look(inventory, value)
      if not text then problems[#problems + 1] = { path = key, message = problem } end
    end
  end
  if #problems > 0 then inventories.refuse(inventory, problems) end
end

---@param formation pgaf.Formation
---@return pgaf.Resource
function passwords.kept(formation)
  local inventory = formation.inventory
  local given = { monitor = inventory.monitor_password, replication = inventory.replication_password }
  local resource = { kind = "passwords", name = formation.name, reads = {} }
  for _, name in ipairs(NAMES) do
    resource.reads[#resource.reads + 1] = { "content", path(formation, name) }
    resource.reads[#resource.reads + 1] = { "file", path(formation, name) }
  end

  -- What is kept, and the names of what is not as it should be.
  local function compare(facts)
    local kept, wrong = {}, {}
    for _, name in ipairs(NAMES) do
      local text = (facts.content[path(formation, name)] or ""):match("^[^\n]+")
      local wanted = given[name] and passwords.reveal(inventory, given[name], name .. "_password")
      local private = text and facts.file[path(formation, name)].mode == "0600"
      if not text or (wanted and wanted ~= text) or not private then wrong[#wrong + 1] = name end
      kept[name] = wanted and given[name] or text and secret.value(text) or nil
    end
    formation.passwords = kept
    return kept, wrong
  end

  function resource:probe(_, facts)
    local _, wrong = compare(facts)
    return #wrong > 0 and "to keep: the password of " .. table.concat(wrong, ", ") or nil
  end

  -- None is made here, and none is shown: a password that is kept has a file, and that is what differs.
  function resource:changes(_, facts)
    local changes = {}
    local _, wrong = compare(facts)
    for i, name in ipairs(wrong) do
      local there = facts.file[path(formation, name)]
      changes[i] = {
        what = path(formation, name), secret = true,
        before = there and ("a password, mode %s"):format(there.mode) or nil,
        after = ("%s password, mode 0600"):format(given[name] and "the inventory's" or there and "that" or "a new"),
      }
    end
    return changes
  end

  function resource:apply(target, _, facts)
    local kept, wrong = compare(facts)
    for _, name in ipairs(wrong) do
      kept[name] = kept[name] or secret.random()
      target.node:push(path(formation, name), secret.reveal(kept[name]) .. "\n",
        { mode = "0600", user = formation.owner })
    end
    return "kept the password of " .. table.concat(wrong, ", ")
  end

  return resource
end

return passwords
