/* tty.h - the terminal: how large it is, when that changes, and a line that somebody types.
 *
 * A line is read from the terminal that controls this process, whatever standard input is; without one, from standard
 * input. Only one line is read at a time. Echo that was turned off is turned on again whatever ends the reading: the
 * line, the end of the input, cancellation; and by tty_restore where none of them comes to pass.
 */
#ifndef PGAFRUN_TTY_H
#define PGAFRUN_TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "op.h"

/* False when fd is no terminal, or one that does not know its size. */
bool tty_size(int fd, int *columns, int *rows);

typedef struct tty_prompt {
  const char *text;   /* copied; NULL or "" for none */
  bool secret;        /* what is typed does not show */
  const char *device; /* path of the terminal; NULL: as told above */
} tty_prompt_t;

/* Reads one line. Failures: "system" (code EBUSY when a line is being read already), "limit" beyond 64 KiB.
 * NULL: no memory. */
op_t *tty_read_line(uv_loop_t *loop, const tty_prompt_t *prompt);

/* Of a read_line that succeeded: the line without its end, or NULL at the end of the input. Not zero-terminated; lives
 * as long as the operation, which wipes it. */
const char *tty_line(const op_t *op, size_t *size);

/* Succeeds when the terminal's size has changed, which is found out from SIGWINCH. NULL: no memory. */
op_t *tty_resized(uv_loop_t *loop);

/* Async-signal-safe: puts back the mode of the terminal (tty_mode.h), if it was changed. For who ends the process
 * without ending its operations. */
void tty_restore(void);

#endif
