-- --step: asks on the terminal before each step. One answer is for all targets of the step.

local error = require "pgafrun.error"
local task = require "pgafrun.task"
local terminal = require "pgaf.prompt"

local prompt = {}

---A function for a run's mode: asks about a step when it is first to begin, and remembers the answer. Raises kind
---"usage" where nobody answers at all.
---@param read_line? fun(options: table): string? default: from the terminal
---@return fun(step: pgaf.Step): boolean
function prompt.new(read_line)
  read_line = read_line or terminal.read_line
  local answers, go_on, turn, asking, answered = {}, nil, task.condition(), false, false

  local function ask(step)
    while true do
      local answer = read_line { prompt = ("run %q? (N)o/(y)es/(c)ontinue: "):format(step[1]) }
      -- the end of the input is nobody who could say yes; at its beginning there was nobody to be asked
      if not answer and not answered then
        error.raise { kind = "usage", message = "--step asks before each step, and there is nobody to answer: the " ..
          "standard input is at its end" }
      end
      answered = true
      if not answer then
        go_on = false
        return false
      end
      answer = answer:lower():match("^%s*(.-)%s*$")
      if answer == "c" or answer == "continue" then
        go_on = true
        return true
      end
      if answer == "y" or answer == "yes" then return true end
      if answer == "n" or answer == "no" or answer == "" then return false end
    end
  end

  return function(step)
    -- one question at a time
    while asking and answers[step] == nil and go_on == nil do turn:wait() end
    if answers[step] ~= nil then return answers[step] end
    if go_on ~= nil then return go_on end
    asking = true
    local _ <close> = setmetatable({}, {
      __close = function()
        asking = false
        turn:notify()
      end,
    })
    answers[step] = ask(step)
    return answers[step]
  end
end

return prompt
