/* editor.h - a line that somebody edits on the terminal, by libedit, while the event loop goes on.
 *
 * libedit would wait for keys itself; here it gets each key when it is whole (editor_keys.h), and is never asked for
 * more. Its commands that read on by themselves (quoted insert, its incremental search) are not bound; the search
 * backward (Ctrl-R) is our own. Input is read only while a line is wanted: what is typed or pasted meanwhile stays with
 * the terminal, which then takes no more of it, so nothing is lost.
 *
 * While a line is wanted the terminal passes each key on as it is typed, shows none itself, and puts brackets around
 * what is pasted; afterwards it is as it was. tty_restore (tty.h) sees to that where the end never comes, and Ctrl-Z for
 * as long as we are stopped. Who else wants the terminal meanwhile is told that it is taken (tty_mode.h). The loop's
 * thread only.
 */
#ifndef PGAFRUN_EDITOR_H
#define PGAFRUN_EDITOR_H

#include <uv.h>

#include "op.h"

typedef struct editor editor_t;

/* What ended a read. */
typedef enum editor_end { EDITOR_LINE, EDITOR_EOF, EDITOR_INTERRUPTED } editor_end_t;

/* device: path of the terminal; NULL: the one that controls us, or standard input. NULL is returned with the failure
 * filled: "system" (EBUSY when another has the terminal, ENOTTY without one), "memory". */
editor_t *editor_open(uv_loop_t *loop, const char *device, failure_t *f);

/* A read that is pending ends with kind "closed". The editor is freed when its handles are closed. */
void editor_close(editor_t *editor);

/* Reads a line, which has line ends within it when such were pasted. One at a time: failures are "system" (EBUSY),
 * "limit" for a paste beyond 64 MiB. NULL: no memory. */
op_t *editor_read(editor_t *editor, const char *prompt);

/* Of a read that succeeded: the line without its end; NULL unless `end` is EDITOR_LINE. Lives as long as op. */
const char *editor_line(const op_t *op, size_t *size, editor_end_t *end);

bool editor_is_reading(const editor_t *editor);

/* Ends the read that is pending, if there is one: EDITOR_INTERRUPTED. Does not run Lua and is no signal handler. */
void editor_interrupt(editor_t *editor);

/* Tab was pressed: whoever waits is told that a part can be had. While this is true no key is looked at. */
bool editor_is_completing(const editor_t *editor);
/* What is to be completed, UTF-8: up to the cursor, and behind it. To be freed with bytes_free by the caller.
 * False: no memory. */
struct bytes;
bool editor_text(const editor_t *editor, struct bytes *before, struct bytes *behind);
/* Answers Tab: what stands before the cursor is replaced, unless it is NULL; `above` is shown above the line. */
void editor_complete(editor_t *editor, const char *before, const char *above);

/* Shows a text above the line that is being typed, or just shows it. Ends it with a line end if it has none. */
void editor_print_above(editor_t *editor, const char *text, size_t size);
/* Around what somebody else writes to the terminal: the line being typed is taken away, and drawn again. Nestable. */
void editor_hide(editor_t *editor);
void editor_show(editor_t *editor);

/* A line for the history, newest last. */
void editor_remember(editor_t *editor, const char *line);

#endif
