-- Privileges: which there are on what, and what to grant and to revoke to have those that are wanted.

local acl = {}

---Kinds of objects -> their privileges; `since` is the server's version that brought one.
local KINDS = {
  database = { "CREATE", "CONNECT", "TEMPORARY" },
  schema = { "USAGE", "CREATE" },
  tables = {
    "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", { "MAINTAIN", since = 170000 },
  },
  sequences = { "USAGE", "SELECT", "UPDATE" },
  functions = { "EXECUTE" },
}

---@param kind string
---@param version? integer of the server; without it, all that any has
---@return string[]
function acl.privileges(kind, version)
  local list = {}
  for _, one in ipairs(KINDS[kind]) do
    local name, since = one, 0
    if type(one) == "table" then name, since = one[1], one.since end
    if not version or version >= since then list[#list + 1] = name end
  end
  return list
end

---The privileges that are meant, in capitals: "all" is each that there is; "temp" is TEMPORARY.
---@param kind string
---@param names string[]
---@param version integer
---@return table<string, boolean>
function acl.meant(kind, names, version)
  local set = {}
  for _, name in ipairs(names) do
    local word = name:upper()
    if word == "ALL" then
      for _, one in ipairs(acl.privileges(kind, version)) do set[one] = true end
    else
      set[word == "TEMP" and "TEMPORARY" or word] = true
    end
  end
  return set
end

---@class pgaf.AclWanted
---@field privileges table<string, boolean>
---@field grant_option boolean they may be passed on
---@field exact boolean no others
---@field absent boolean not these

---@class pgaf.AclPlan
---@field grant string[]
---@field revoke string[]
---@field revoke_option string[] the right to pass them on

---@param wanted pgaf.AclWanted
---@param held table<string, boolean> privilege -> may pass it on
---@param is_owner? boolean an owner's own privileges are not taken from it by `exact`
---@return pgaf.AclPlan? plan nil when all is as wanted
function acl.plan(wanted, held, is_owner)
  local plan = { grant = {}, revoke = {}, revoke_option = {} }
  for name in pairs(wanted.privileges) do
    if wanted.absent then
      if held[name] ~= nil then table.insert(plan.revoke, name) end
    elseif held[name] == nil or (wanted.grant_option and not held[name]) then
      table.insert(plan.grant, name)
    end
  end
  if wanted.exact and not is_owner then
    for name, passes_on in pairs(held) do
      if not wanted.privileges[name] then
        table.insert(plan.revoke, name)
      elseif passes_on and not wanted.grant_option then
        table.insert(plan.revoke_option, name)
      end
    end
  end
  if #plan.grant + #plan.revoke + #plan.revoke_option == 0 then return nil end
  for _, list in pairs(plan) do table.sort(list) end
  return plan
end

---What is held after the plan.
---@param held table<string, boolean>
---@param plan pgaf.AclPlan
---@param grant_option boolean
---@return table<string, boolean>
function acl.after(held, plan, grant_option)
  local result = {}
  for name, passes_on in pairs(held) do result[name] = passes_on end
  for _, name in ipairs(plan.grant) do result[name] = grant_option end
  for _, name in ipairs(plan.revoke) do result[name] = nil end
  for _, name in ipairs(plan.revoke_option) do result[name] = false end
  return result
end

---Privileges in one line, "*" after those that may be passed on.
---@param held table<string, boolean>
---@return string
function acl.show(held)
  local list = {}
  for name, passes_on in pairs(held) do list[#list + 1] = name:lower() .. (passes_on and "*" or "") end
  table.sort(list)
  return #list > 0 and table.concat(list, ", ") or "none"
end

return acl
