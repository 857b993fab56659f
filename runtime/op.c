/* op.c - the two holds of an operation; see op.h for the rules. */
#include "op.h"

#include <assert.h>
#include <string.h>

void op_init(op_t *op, const op_class_t *class) {
  memset(op, 0, sizeof *op);
  op->class = class;
  op->held_by_waiter = true;
}

void op_submit(op_t *op) {
  assert(op->state == OP_NEW);
  op->state = OP_PENDING;
  op->held_by_transport = true;
}

static void op_maybe_destroy(op_t *op) {
  if (!op->held_by_transport && !op->held_by_waiter) op->class->destroy(op);
}

void op_complete(op_t *op) {
  assert(op->held_by_transport);
  op->held_by_transport = false;
  if (op->state == OP_PENDING) {
    op->state = OP_DONE;
    if (op->wake) op->wake(op);
  }
  op_maybe_destroy(op);
}

void op_tell_part(op_t *op) {
  if (op->state == OP_PENDING && op->part) op->part(op);
}

void op_release(op_t *op) {
  assert(op->held_by_waiter);
  op->wake = NULL;
  op->part = NULL;
  if (op->state == OP_PENDING) {
    op->state = OP_CANCELLED;
    /* cancel may complete, which must not free op under our feet: the waiter's hold goes last */
    op->class->cancel(op);
  }
  op->held_by_waiter = false;
  op_maybe_destroy(op);
}
