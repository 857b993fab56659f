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

return tty
