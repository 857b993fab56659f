-- The passwords that only the formation itself needs: made once, and kept on the monitor's node, beside each other, in
-- files that PostgreSQL's user alone can read. One that the inventory names goes before the kept one.

local rules = require "pgaf.autofailover.rules"
local error = require "pgafrun.error"
local secret = require "pgaf.secret"

local passwords = {}

local NAMES = { "monitor", "replication", "probe" }

local function path(formation, name) return ("%s/%s_password"):format(formation.monitor.paths.home, name) end

---A secret of the inventory, revealed and allowed; a person's mistake is told with the key.
---@param inventory pgaf.Inventory
---@param value pgaf.Secret
---@param key string "application.password"
---@return string
function passwords.reveal(inventory, value, key)
  local text = secret.reveal(value)
  local refusal = rules.password_refusal(inventory, text)
  if refusal then
    error.raise {
      kind = "inventory", message = ("%s: %s (from %s) %s"):format(inventory.file, key, secret.source(value), refusal),
    }
  end
  return text
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
