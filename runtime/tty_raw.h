/* tty_raw.h - the whole terminal for one who draws on it and is told each key: no echo, no lines, nothing that the
 * terminal driver does by itself but sending signals for Ctrl-C and Ctrl-Z.
 *
 * The terminal gets its mode back, after the text `leave` was written to it, by tty_raw_close; by tty_restore(), which
 * is for who ends the process without it; and while the process is stopped by Ctrl-Z. Messages to standard error are
 * held back meanwhile. Neither reading nor writing ever blocks: a terminal that takes nothing now is waited for.
 */
#ifndef PGAFRUN_TTY_RAW_H
#define PGAFRUN_TTY_RAW_H

#include <stddef.h>
#include <uv.h>

#include "op.h"

typedef struct tty_raw tty_raw_t;

typedef struct tty_raw_options {
  const char *device; /* path of the terminal; NULL: the one that controls us */
  const char
      *enter; /* written to it first, and again when a stopped process goes on; copied; NULL for nothing */
  const char *leave; /* written to it before its mode is put back; copied; NULL for nothing */
} tty_raw_options_t;

/* NULL on failure, f is filled: "system" (code EBUSY when somebody has the terminal, ENXIO without one, ENOTTY), or
 * "memory". Does not keep the loop alive. */
tty_raw_t *tty_raw_open(uv_loop_t *loop, const tty_raw_options_t *options, failure_t *f);

/* Puts the terminal back and frees raw. What is pending fails with kind "closed". */
void tty_raw_close(tty_raw_t *raw);

typedef enum tty_input {
  TTY_TYPED,   /* some bytes came */
  TTY_RESUMED, /* the process was stopped and goes on: what is on the screen is not ours any more */
  TTY_ENDED    /* the terminal is gone */
} tty_input_t;

/* Waits for what is typed. One at a time: the second fails with "system", EBUSY. NULL: no memory. */
op_t *tty_raw_read(tty_raw_t *raw);

/* Of a read that succeeded; the bytes live as long as the operation. */
tty_input_t tty_raw_input(const op_t *op, const char **bytes, size_t *size);

/* Writes all of text, which is copied. One at a time, as above; "system" when the terminal is gone. NULL: no memory. */
op_t *tty_raw_write(tty_raw_t *raw, const char *text, size_t size);

#endif
