-- A terminal that a test types into and looks at: a window of a tmux server of its own, with a shell in it.

local fs = require "pgafrun.fs"
local process = require "pgafrun.process"
local task = require "pgafrun.task"

local PATIENCE_SECONDS = 30
local LOOK_SECONDS = 0.03

local terminal = {}

---@class Terminal
---@field folder string
local Terminal = {}
Terminal.__index = Terminal

local function tmux(self, ...)
  local command = { "tmux", "-S", self.folder .. "/socket", "-f", "/dev/null", ... }
  command.extend_env = { TMUX = "" }
  local result = process.run(command)
  if result.code ~= 0 then error(("tmux %s: %s"):format((...), result.stderr)) end
  return result.stdout
end

---Opens a window of 100 columns and 30 rows.
---@param environment? table<string, string> of the shell, beside PATH and a UTF-8 locale
---@return Terminal to be closed
function terminal.open(environment)
  local self = setmetatable({ folder = fs.mkdtemp "pgafrun-t-" }, Terminal)
  local assignments = {}
  for name, value in pairs(environment or {}) do assignments[#assignments + 1] = ("%s=%s"):format(name, value) end
  assignments[#assignments + 1] = "sh"
  tmux(self, "new-session", "-d", "-x", "100", "-y", "30", "env", "-i", "PATH=" .. process.getenv "PATH",
    "LANG=C.UTF-8", "TERM=screen", "HOME=" .. self.folder, "PS1=$ ", table.unpack(assignments))
  return self
end

function Terminal:close()
  pcall(tmux, self, "kill-server")
  fs.remove_tree(self.folder)
end
Terminal.__close = Terminal.close

---@param text string as it is
function Terminal:type(text) tmux(self, "send-keys", "-l", text) end

---@param ... string "Enter", "C-c", "Tab" ...
function Terminal:press(...) tmux(self, "send-keys", ...) end

---@param text string
function Terminal:enter(text)
  self:type(text)
  self:press "Enter"
end

---Pastes, with brackets around it where the program asked for them.
---@param text string
function Terminal:paste(text)
  fs.write(self.folder .. "/paste", text)
  tmux(self, "load-buffer", self.folder .. "/paste")
  tmux(self, "paste-buffer", "-p", "-r")
end

---@param columns integer
---@param rows integer
function Terminal:resize(columns, rows)
  tmux(self, "resize-window", "-x", tostring(columns), "-y", tostring(rows))
end

---@return string what it shows, without empty lines at the end
function Terminal:screen() return (tmux(self, "capture-pane", "-p"):gsub("%s+$", "")) end

---Waits until it shows this.
---@param wanted string|(fun(screen: string): boolean?) a plain text
---@return string screen
function Terminal:wait(wanted)
  local screen = ""
  local fits = type(wanted) == "function" and wanted or function(text) return text:find(wanted, 1, true) ~= nil end
  local ok, raised = pcall(task.timeout, PATIENCE_SECONDS, function()
    while true do
      screen = self:screen()
      if fits(screen) then return end
      task.sleep(LOOK_SECONDS)
    end
  end)
  if ok then return screen end
  task.check()
  return error(("%s: the terminal does not show %s but\n%s"):format(tostring(raised), tostring(wanted), screen), 2)
end

return terminal
