-- A drill's result as one HTML file that needs nothing else: readable offline, printable, kept as evidence. The data is
-- in it as JSON; page/page.js draws it.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"
local json = require "pgafrun.json"
local program = require "pgafrun.program"

local page = {}

local function asset(path)
  for _, root in ipairs(program.roots) do
    local full = ("%s/%s"):format(root, path)
    if fs.stat(full) then return fs.read(full) end
  end
  error.raise {
    kind = "missing", operation = "report", message = ("%s is not installed"):format(path),
    hint = "it is looked for in " .. table.concat(program.roots, ", "),
  }
end

-- Inside <script> a "</script>" would end it, whatever string it is in. Outside of strings JSON has none of these.
local function embedded(result)
  return (json.encode(result):gsub("[<>&]", function(c) return ("\\u%04x"):format(c:byte()) end))
end

local function escaped(text) return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

---@param result table as pgaf.drill makes it
---@return string html
function page.render(result)
  local title = ("%s: %s on %s"):format(result.verdict.name, result.title or result.fault, result.formation)
  local parts = {
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
    "<meta name=\"color-scheme\" content=\"light dark\">",
    ("<title>%s</title>"):format(escaped(title)),
    "<style>", asset "vendor/uplot/uPlot.min.css", asset "stdlib/pgaf/drill/page/page.css", "</style>",
    "</head>\n<body>\n<main id=\"page\"><noscript>The figures of this report are drawn by a script; they are in its " ..
      "source as JSON.</noscript></main>",
    "<script type=\"application/json\" id=\"result\">" .. embedded(result) .. "</script>",
    "<script>", asset "vendor/uplot/uPlot.iife.min.js", "</script>",
    "<script>", asset "stdlib/pgaf/drill/page/page.js", "</script>",
    "</body>\n</html>\n",
  }
  return table.concat(parts, "\n")
end

return page
