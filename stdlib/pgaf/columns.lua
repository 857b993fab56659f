-- Rows of texts as lines with straight columns.

local columns = {}

---How many columns of a terminal a text takes.
---@param text string
---@return integer
function columns.width(text) return utf8.len(text) or #text end

---Each column is as wide as the widest of its cells, two blanks lie between two, and no line ends in blanks.
---@param rows string[][]
---@param options? { right?: table<integer, boolean?>, indent?: string } the columns whose cells stand at the right
---@return string[] lines one for each row
function columns.lines(rows, options)
  local right, indent = options and options.right or {}, options and options.indent or ""
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, columns.width(cell)) end
  end
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local gap = (" "):rep(widths[i] - columns.width(cell))
      cells[i] = right[i] and gap .. cell or cell .. gap
    end
    lines[n] = (indent .. table.concat(cells, "  ")):gsub("%s+$", "")
  end
  return lines
end

return columns
