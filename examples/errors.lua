-- Errors are values with a kind: branch on it, never on the text.

local error = require "pgafrun.error"
local fs = require "pgafrun.fs"

local ok, e = pcall(fs.read, "/no/such/file")
if not ok and error.is(e, "file", "ENOENT") then
  print("not there, as expected: " .. e.operation)
else
  error.raise { kind = "script", message = "this machine has a strange root folder", cause = e }
end
