-- A session at the prompt: takes one input at a time, runs it as a task, shows what comes of it.
--
--     local s = session.new { environment = { answer = 42 }, write = io.write, columns = 80 }
--     s:feed("answer + 1")     --> "done", after 43 was written
--     s:feed("for i = 1, 2 do")  --> "more"
--
-- An input is an expression, whose values are shown; or statements; or a command, which begins with a colon (see
-- commands.lua). A call that waits just waits. What is assigned to a name that is not local is a new global, of this
-- session alone; a name that is not known is a mistake, as in every script.

local throw = error
local commands = require "pgaf.repl.commands"
local complete = require "pgaf.repl.complete"
local error = require "pgafrun.error"
local inspect = require "pgaf.repl.inspect"
local task = require "pgafrun.task"

local session = {}

local COLUMNS = 100
local CHUNK = "=input"

---@class pgaf.repl.SessionOptions
---@field environment? table what inputs see before the globals; new globals are set in it, also by its __newindex
---@field write fun(text: string) shows a text, which ends with a line end
---@field columns? integer|(fun(): integer) width of the terminal, default 100
---@field foreground? fun(t: pgafrun.Task?) is told which task runs now, to be cancelled by Ctrl-C; nil: none
---@field commands? table<string, pgaf.repl.Command> more of them, or others of the same name
---@field background? pgafrun.Group where what goes on beside the prompt runs

---@class pgaf.repl.Session
---@field environment table as given
---@field values table<string, any> `_`, the last value, and `_err`, the last error
---@field globals table what chunks see
---@field running pgafrun.Task? what Ctrl-C cancels
---@field help pgaf.repl.Help? once it was loaded: then options are completed
---@field about string[]? lines that :help shows beneath the commands
---@field pending string? the input so far, while it is unfinished
---@field failed boolean whether the last input ended with an error
local Session = {}
Session.__index = Session

-- ------------------------------------------------------------------------------------------------------------ names

-- Values of the session, then the environment's, then the globals; a name that none of them has is a mistake.
local function globals_of(self)
  local environment, values, known = self.environment, self.values, { _ = true, _err = true }
  return setmetatable({}, {
    __index = function(_, name)
      local value = values[name]
      if value == nil then value = environment[name] end
      if value == nil then value = rawget(_G, name) end
      if value == nil and not known[name] then
        throw(("undefined name '%s': a misspelt name, or a missing `require`"):format(tostring(name)), 2)
      end
      return value
    end,
    __newindex = function(_, name, value)
      known[name] = true
      if name == "_" or name == "_err" then values[name] = value else environment[name] = value end
    end,
    __pairs = function() return next, environment, nil end,
    __metatable = "repl",
  })
end

---@param options pgaf.repl.SessionOptions
---@return pgaf.repl.Session
function session.new(options)
  local self = setmetatable({
    environment = options.environment or {}, values = {}, write = options.write, failed = false,
    columns_option = options.columns or COLUMNS, foreground = options.foreground or function() end,
    commands = setmetatable(options.commands or {}, { __index = commands.all }), background = options.background,
  }, Session)
  self.globals = globals_of(self)
  return self
end

---@return integer
function Session:columns()
  local columns = self.columns_option
  if type(columns) == "function" then columns = columns() end
  return columns
end

-- ---------------------------------------------------------------------------------------------------------- showing

---Shows a text, with a line end if it has none.
---@param text string
function Session:say(text)
  if text:sub(-1) ~= "\n" then text = text .. "\n" end
  self.write(text)
end

---A value as it is shown. A metatable's __repl(value, session) has the first word: it returns the text.
---@param value any
---@return string
function Session:render(value)
  local meta = type(value) == "table" and debug.getmetatable(value)
  local own = type(meta) == "table" and rawget(meta, "__repl")
  if own then return (own(value, self)) end
  return inspect.render(value, { columns = self:columns() })
end

-- The line that a message of the compiler's is about, shown beneath it.
local function with_line(message, text)
  local number = math.tointeger(tonumber(message:match "^input:(%d+):"))
  if not number then return message end
  local at = 0
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    at = at + 1
    if at == number then return ("%s\n  %d | %s"):format(message, number, inspect.plain(line)) end
  end
  return message
end

---Shows an error and keeps it as `_err`.
---@param raised any
---@return "error"
function Session:fail(raised)
  self.failed = true
  self.values._err = raised
  if error.is(raised) then
    local where = raised.where and not raised.where:find("/stdlib/pgaf/", 1, true) and "\n  at: " .. raised.where or ""
    self:say(inspect.plain(("error: %s%s"):format(tostring(raised), where)))
  else
    self:say("error: " .. (type(raised) == "string" and inspect.plain(raised) or self:render(raised)))
  end
  return "error"
end

-- ---------------------------------------------------------------------------------------------------------- running

-- Unfinished: the compiler wants more where the text ends. It says so in its message and nowhere else.
local function is_unfinished(message) return message:sub(-#"<eof>") == "<eof>" end

---The chunk of an input: an expression if it can be one.
---@param text string
---@return function? chunk, string? message, boolean? unfinished
function Session:compile(text)
  local chunk, as_expression = load("return " .. text, CHUNK, "t", self.globals)
  if chunk then return chunk end
  local statements, message = load(text, CHUNK, "t", self.globals)
  if statements then return statements end
  return nil, message, is_unfinished(message) or is_unfinished(as_expression)
end

---Runs a function as a task of its own, which Ctrl-C cancels; returns its results, raises what it raises. What it
---spawned into groups of its own has ended then.
---@param f function
---@param ... any
---@return any ...
function Session:call(f, ...)
  local group <close> = task.group()
  local outer, running = self.running, group:spawn_named("input", f, ...)
  local function show_task(t)
    self.running = t
    self.foreground(t)
  end
  show_task(running)
  local _ <close> = setmetatable({}, { __close = function() show_task(outer) end })
  return running:wait()
end

local function show_values(self, values)
  if values.n == 0 then return end
  self.values._ = values[1]
  local texts = {}
  for i = 1, values.n do texts[i] = self:render(values[i]) end
  self:say(table.concat(texts, "\n"))
end

---Runs a function and shows its results, or why there are none.
---@param f function
---@return "done"|"error"
function Session:run(f)
  local values = table.pack(pcall(self.call, self, function()
    local values = table.pack(f())
    -- showing a value may want to wait, and may take long: it is part of the call
    show_values(self, values)
  end))
  if values[1] then return "done" end
  local raised = values[2]
  if error.is(raised, "exit") or type(raised) == "table" and rawget(raised, "kind") == "exit" then throw(raised, 0) end
  task.check() -- whoever runs the session is to end
  if error.is(raised, "cancelled") then
    self.failed = true
    self.values._err = raised
    self:say("interrupted")
    return "error"
  end
  return self:fail(raised)
end

-- Several lines that are no chunk together may be inputs one by one, as when a page of them was pasted.
local function one_by_one(self, text)
  local outcome = "done"
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    outcome = self:feed(line)
    if outcome == "error" then break end
  end
  return outcome
end

local function is_command(text) return text:find "^%s*:[%a?]" ~= nil end

local function has_command_line(text) return ("\n" .. text):find "\n%s*:[%a?]" ~= nil end

---Takes an input, or one more line of an unfinished one.
---@param line string without its end; may be of several lines
---@return "more"|"done"|"error" more: it goes on, with the next line
---Raises kind "exit" when the input asked to quit.
function Session:feed(line)
  local text = self.pending and self.pending .. "\n" .. line or line
  local first = not self.pending
  if first and not text:find "%S" then return "done" end
  self.failed = false
  local several = text:find("\n", 1, true)
  if first and is_command(text) and not several then return commands.run(self, text) end
  local chunk, message, unfinished = self:compile(text)
  if chunk then
    self.pending = nil
    return self:run(chunk)
  end
  if first and several and (has_command_line(text) or not unfinished) then return one_by_one(self, text) end
  if unfinished then
    self.pending = text
    return "more"
  end
  self.pending = nil
  return self:fail(with_line(message, text))
end

---Forgets the beginning of an unfinished input.
function Session:reset() self.pending = nil end

---What the text may go on with.
---@param text string the line up to the cursor
---@return string[] list whole words, sorted
---@return integer from where the word begins in the text that is being completed
function Session:complete(text) return complete.candidates(self, text) end

return session
