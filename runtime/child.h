/* child.h - a program that may outlive us: started, watched while we are there, never ended by us unasked.
 *
 * Its stdin is /dev/null, its output is appended to a file. The runtime reaps it while it runs; when a child_t is
 * released, or pgafrun ends, the program goes on.
 */
#ifndef PGAFRUN_CHILD_H
#define PGAFRUN_CHILD_H

#include <uv.h>

#include "op.h"
#include "spawn.h"

typedef struct child child_t;

typedef struct child_status {
  int code;   /* exit status; meaningless when signal is not 0 */
  int signal; /* that ended it, or 0 */
} child_status_t;

/* Starts it; output is created with mode 0600 if it is not there. NULL on failure, f is filled (kinds "process", "file",
 * "memory"). Does not keep the loop alive. */
child_t *child_start(uv_loop_t *loop, const spawn_options_t *options, const char *output, failure_t *f);

int child_pid(const child_t *child);

bool child_has_exited(const child_t *child);

/* Waits for its end; any number may wait. Has no failures. While somebody waits the loop is kept alive. NULL: no memory. */
op_t *child_wait(child_t *child);

/* Of a wait that succeeded. */
child_status_t child_status(const op_t *op);

/* Lets go of the program, which goes on. Waits still pending after this can only be cancelled. */
void child_release(child_t *child);

#endif
