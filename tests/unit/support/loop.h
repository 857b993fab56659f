/* loop.h - a runtime with nothing but its loop, and the waiting that the scheduler does in the program. */
#ifndef PGAFRUN_TEST_LOOP_H
#define PGAFRUN_TEST_LOOP_H

#include "runtime/op.h"
#include "runtime/runtime.h"

void loop_begin(runtime_t *runtime);
/* Ends what http_of made, and asserts that no libuv handle was leaked. */
void loop_end(runtime_t *runtime);
/* Runs the loop until op is done. */
void loop_wait(runtime_t *runtime, op_t *op);
/* Runs the loop for about so long, for what must happen, or not happen, without an operation. */
void loop_run_for(runtime_t *runtime, unsigned milliseconds);

#endif
