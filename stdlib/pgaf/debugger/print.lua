-- The `print` of a prompt that is not the program's own standard output.

---@param write fun(text: string)
---@return fun(...)
return function(write)
  return function(...)
    local texts = table.pack(...)
    for i = 1, texts.n do texts[i] = tostring(texts[i]) end
    write(table.concat(texts, "\t", 1, texts.n) .. "\n")
  end
end
