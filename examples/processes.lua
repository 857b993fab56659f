-- Programs side by side; a non-zero exit is a result, not an error.

local process = require "pgafrun.process"
local task = require "pgafrun.task"

local group <close> = task.group()
local yes = group:spawn(process.run, { "sh", "-c", "cat; exit 3", stdin = "from the script\n" })
local no = group:spawn(process.run, { "uname", "-s" })
local result = yes:wait()
io.write(result.code, " ", result.stdout, no:wait().stdout)
