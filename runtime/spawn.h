/* spawn.h - how every child process is started: in a session of its own, with three descriptors and no more.
 *
 * Own session (setsid): the child has no terminal to ask a password on, a Ctrl-C at ours does not reach it behind our
 * back, and its process group, whose id is its pid, can be signalled as a whole. Signals are at their defaults and
 * none is blocked (libuv sees to both between fork and exec).
 */
#ifndef PGAFRUN_SPAWN_H
#define PGAFRUN_SPAWN_H

#include <uv.h>

#include "failure.h"

typedef struct spawn_options {
  char *const
      *argv; /* NULL-terminated, at least one; argv[0] is looked up in the PATH of the child's environment */
  char *const *env; /* "NAME=value", NULL-terminated; NULL: our own environment */
  const char *cwd;  /* NULL: our own */
  int umask;        /* -1: our own */
} spawn_options_t;

/* Starts a child. stdio: descriptors that become its 0, 1 and 2, still the caller's to close; -1 stands for /dev/null.
 * Blocks for the time of fork and exec. On failure false, and f is filled (kind "process").
 * process is a libuv handle afterwards in both cases: the caller closes it. */
bool spawn_process(uv_loop_t *loop, uv_process_t *process, const spawn_options_t *options, const int stdio[3],
                   uv_exit_cb on_exit, failure_t *f);

#endif
