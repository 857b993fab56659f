---@meta pgafrun.line
-- A line that somebody edits on the terminal (libedit: Emacs keys, history, Ctrl-R), while the event loop goes on and
-- other tasks print above it.
local line = {}

---@class pgafrun.line.Editor
---Hold it in a `local editor <close>` variable. While a line is read, messages of pgafrun.log go above it. As long as it
---is open, SIGINT cancels its foreground task or the line being typed, and not the program; a third one during the same
---call ends the program as it would without.
local Editor = {}

---Waits for a line. The terminal is taken meanwhile, and as it was before at the end, whatever ends the wait. What is
---pasted may have line ends, which are part of the line. Raises kind system, code EBUSY while somebody else has the
---terminal or reads.
---@param prompt? string
---@return string? line nil without one
---@return "eof"|"interrupted"|nil why eof: Ctrl-D on an empty line, or the terminal is gone; interrupted: Ctrl-C
function Editor:read(prompt) end

---Shows a text above the line that is being typed; without one, just shows it. Does not wait.
---@param text string
function Editor:print_above(text) end

---The answer to Tab, after `complete` of line.open returned false. What is typed meanwhile waits for it. Nothing happens
---when no answer is waited for.
---@param before? string what is to stand before the cursor; nil: as it is
---@param above? string shown above
function Editor:complete(before, above) end

---Adds to the history, newest last; the newest 2000 are kept.
---@param text string
function Editor:remember(text) end

---Is a line being typed right now?
---@return boolean
function Editor:is_reading() end

---Which task Ctrl-C cancels from now on; nil: none, but the line being typed.
---@param task? pgafrun.Task
function Editor:foreground(task) end

---Idempotent, does not wait; a read that is pending raises kind closed. Also __close and __gc.
function Editor:close() end

---Opens the line editor on the terminal. complete is called on Tab, with the line up to the cursor and what is behind
---it; it must not wait. It returns what is to stand before the cursor (nil: as it is), and what is to be shown above; or
---false, when Editor:complete will say it.
---Raises kind system: ENOTTY or ENXIO without a terminal, EBUSY when another has it.
---@param options? { complete?: (fun(before: string, behind: string): string|false|nil, string?), device?: string }
---device: the terminal's path, when it is not the one that controls this process
---@return pgafrun.line.Editor
function line.open(options) end

return line
