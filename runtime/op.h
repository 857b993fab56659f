/* op.h - an operation: the one shape of everything asynchronous.
 *
 * A transport embeds an op_t as the FIRST member of its own request struct, allocated on the C heap. Life:
 *
 *     op_init -> op_submit -> op_complete (once, by the transport) -> class->destroy
 *
 * Two parties hold a submitted operation: the waiter (a task, by way of its binding) and the transport.
 * destroy runs when both have let go:
 *   - the transport lets go by op_complete(), which it calls EXACTLY ONCE for each submitted operation, also
 *     after cancel, also from inside start or cancel; failure is filled before, if there is one;
 *   - the waiter lets go by op_release(), exactly once; on a pending operation that cancels it first.
 * op_complete never runs Lua and never runs anything of the waiter's but op->wake, which only marks it ready;
 * so it may be called from any libuv, curl or libpq callback. All of this is for the loop's thread alone.
 */
#ifndef PGAFRUN_OP_H
#define PGAFRUN_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

typedef struct op op_t;

typedef struct op_class {
  const char *name; /* as scripts know it: "http.request"; becomes the error's operation */
  /* Asks the transport to stop at once. Called at most once, only while pending. The transport then
   * calls op_complete as soon as it has let go of the memory (possibly from inside cancel). */
  void (*cancel)(op_t *op);
  /* Frees the request; both parties have let go. */
  void (*destroy)(op_t *op);
} op_class_t;

typedef enum op_state { OP_NEW, OP_PENDING, OP_DONE, OP_CANCELLED } op_state_t;

struct op {
  const op_class_t *class;
  op_state_t state;
  bool held_by_transport;
  bool held_by_waiter;
  bool mutates;           /* set before submit: abandoning it leaves the outcome unknown */
  failure_t failure;      /* of a DONE operation; kind NULL when it succeeded */
  void (*wake)(op_t *op); /* set by the waiter; called once when DONE, never after op_release */
  void (*part)(
      op_t *op); /* may be set by the waiter: called when a part can be had while PENDING, then as wake */
  void *waiter;  /* the waiter's own */
};

/* Zeroes op and sets its class; the waiter holds it from here on. */
void op_init(op_t *op, const op_class_t *class);
/* The transport takes its hold. */
void op_submit(op_t *op);
/* The transport is through with op: marks it DONE, wakes the waiter, lets go. op may be freed on return. */
void op_complete(op_t *op);
/* Tells the waiter, if it wants to know, that a part of what is pending can be had already. */
void op_tell_part(op_t *op);
/* The waiter lets go; cancels what is pending. op may be freed on return. */
void op_release(op_t *op);

static inline bool op_is_done(const op_t *op) { return op->state == OP_DONE; }

#endif
