---@meta pgafrun.tty
-- The terminal: is there one, how large is it, and what does somebody type.
local tty = {}

---Is this file descriptor a terminal? 0 standard input, 1 standard output, 2 standard error.
---@param fd integer
---@return boolean
function tty.is_terminal(fd) end

---The terminal's size in characters; nil when fd is none, or one that does not know its size.
---@param fd integer
---@return integer? columns, integer? rows
function tty.size(fd) end

---Waits for a line that somebody types, from the terminal that controls this process, whatever standard input is;
---without one, from standard input. With secret, what is typed does not show; the echo is on again whatever ends the
---wait. Of two tasks that want a line at the same time, the second gets an error of kind system, code EBUSY.
---A line has at most 64 KiB (kind limit).
---@param options? { prompt?: string, secret?: boolean }
---@return string? line without its end; nil at the end of the input (Ctrl-D)
function tty.read_line(options) end

---Waits until the terminal's size has changed. What changes between two waits goes unnoticed: ask for the size before
---each use of it, and wait in order to draw again.
---@param seconds? number the longest wait; without, as long as it takes
---@return boolean? changed true; nil when the seconds have passed
function tty.wait_resize(seconds) end

---@class pgafrun.tty.Raw
---The whole terminal, for who draws on it and is told each key: no echo, no lines; Ctrl-C and Ctrl-Z send their signals.
---Hold it in a `local t <close>` variable. Whatever ends it (closing, an error, a signal, also a second one, which ends the
---program at once), `leave` is written and the terminal is as it was. While the program is stopped by Ctrl-Z it is, too.
---Messages to standard error are held back and follow then.
local Raw = {}

---Waits for what is typed: the bytes as they come, of one key or of several.
---@param seconds? number the longest wait; without, as long as it takes
---@return string? bytes nil when the seconds have passed, or with a second result:
---@return "resumed"|"ended"|nil why resumed: the program was stopped and goes on, all has to be drawn anew; ended: the
---terminal is gone
function Raw:read(seconds) end

---Writes all of it; a terminal that takes nothing now is waited for, and the other tasks go on. Raises kind system when
---the terminal is gone. Two tasks that write, or read, at the same time: the second gets kind system, code EBUSY.
---@param text string
function Raw:write(text) end

---Gives the terminal back. Idempotent, does not wait; what waits on it raises kind closed.
function Raw:close() end

---Takes the terminal that controls this process. Raises kind system: code ENXIO where there is none, EBUSY when another
---task has it or reads a line from it.
---@param options? { enter?: string, leave?: string } control sequences: written at first (and when a stopped program goes
---on), and before the terminal is given back
---@return pgafrun.tty.Raw
function tty.raw(options) end

return tty
