/* tty_mode.h - who has the terminal, the mode it is in meanwhile, and putting that back whatever ends it.
 *
 * A process has one terminal, and one at a time has it: who reads a line, or who draws on all of it. tty_restore() of
 * tty.h puts back what was changed here; it is for this reason, and because a signal handler has no other way to find
 * anything, that this is a noun of the whole process.
 */
#ifndef PGAFRUN_TTY_MODE_H
#define PGAFRUN_TTY_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

/* False when somebody has it already. */
bool tty_claim(void);
void tty_unclaim(void);

/* Opens the terminal anew, so that making it non-blocking concerns nobody else: the device, or, where that is NULL, the
 * one that controls us. Negative on failure, with errno. */
int tty_open(const char *device);

/* Changes the mode, now or (flush) after throwing away what was typed before. What it was before the first change is
 * kept for tty_restore. leave: written to the terminal before that; NULL for nothing; kept by the caller. */
void tty_mode_set(int fd, const struct termios *mode, bool flush, const char *leave);

/* Is a mode to be put back? */
bool tty_mode_is_changed(void);

/* What is written to standard error from now on is kept, if it would go to a terminal, and written there by
 * tty_restore: a message in the middle of a picture spoils it, and is gone with it. */
void tty_hold_errors(void);

/* Writes as much as the terminal takes without waiting. Async-signal-safe. */
void tty_put(int fd, const char *text, size_t size);

#endif
