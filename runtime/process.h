/* process.h - running a program to its end: text in, text out, exit status.
 *
 * The child is the leader of its own process group. Cancelling (or passing max_bytes) sends SIGTERM to the group, and
 * SIGKILL two seconds later to what is left of it. The operation is through only when the child is reaped and its
 * output has ended; a grandchild that keeps the output open after the child's exit is waited for one second.
 *
 * SIGPIPE must be ignored in this process: a child that does not read its input is no failure.
 */
#ifndef PGAFRUN_PROCESS_H
#define PGAFRUN_PROCESS_H

#include <stddef.h>
#include <uv.h>

#include "op.h"
#include "spawn.h"

typedef struct process_options {
  spawn_options_t spawn; /* read during process_run only */
  const char *input;     /* for its stdin; copied. NULL: stdin is /dev/null */
  size_t input_size;
  size_t max_bytes; /* of stdout and of stderr each; more is a failure of kind "limit" */
} process_options_t;

typedef struct process_result {
  int code;              /* exit status; meaningless when signal is not 0 */
  int signal;            /* that ended it, or 0 */
  const char *out, *err; /* never NULL; not terminated; live as long as the operation */
  size_t out_size, err_size;
  double seconds; /* from start to exit */
} process_result_t;

/* Starts the program. Failures: "process" (could not be started), "limit", "memory", "system". NULL: no memory. */
op_t *process_run(uv_loop_t *loop, const process_options_t *options);

/* Of an operation that succeeded. */
process_result_t process_result(const op_t *op);

#endif
