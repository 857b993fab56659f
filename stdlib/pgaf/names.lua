---Names of nodes, members, targets or an inventory's entries.
---@param list { name: string }[]
---@param without? string one that is left out
---@return string[]
return function(list, without)
  local names = {}
  for _, one in ipairs(list) do
    if one.name ~= without then names[#names + 1] = one.name end
  end
  return names
end
