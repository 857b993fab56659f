-- Programs of the node that resources run: what they wrote goes to the error, beside what to do next.

local error = require "pgafrun.error"

local commands = {}

local SHOWN_LINES = 10

---@param text string
---@param count? integer
---@return string the last lines, indented below a message; "" of an empty text
function commands.last_lines(text, count)
  local lines = {}
  for line in text:gmatch "[^\r\n]+" do lines[#lines + 1] = line end
  if #lines == 0 then return "" end
  return ":\n    " .. table.concat(lines, "\n    ", math.max(1, #lines - (count or SHOWN_LINES) + 1))
end

---Raises that a program failed.
---@param made pgaf.Resource
---@param target pgaf.Target
---@param what string the program, for people
---@param result { code: integer, stdout: string, stderr: string }
---@param hint? string
function commands.fail(made, target, what, result, hint)
  error.raise {
    kind = "command", operation = ("%s %s on %s"):format(made.kind, made.name, target.name),
    code = tostring(result.code), command = what, result = result, hint = hint,
    message = ("`%s` ended with status %s%s"):format(what, tostring(result.code),
      commands.last_lines(result.stderr:find "%S" and result.stderr or result.stdout)),
  }
end

---Runs a script; a status other than 0 is raised as the resource's failure.
---@param made pgaf.Resource
---@param target pgaf.Target
---@param script string
---@param options? { what?: string, hint?: string, timeout?: number, stdin?: string, env?: table, user?: string }
---@return { code: integer, stdout: string, stderr: string }
function commands.run(made, target, script, options)
  options = options or {}
  local result = target.node:run(script, {
    check = false, timeout = options.timeout, stdin = options.stdin, env = options.env, user = options.user,
  })
  if result.code ~= 0 then commands.fail(made, target, options.what or script, result, options.hint) end
  return result
end

return commands
