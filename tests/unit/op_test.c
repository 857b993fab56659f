#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/op.h"

typedef struct probe {
  op_t op;
  int cancels, destroys, wakes;
  bool complete_in_cancel;
} probe_t;

static void probe_cancel(op_t *op) {
  probe_t *p = (probe_t *)op;
  p->cancels++;
  if (p->complete_in_cancel) op_complete(op);
}
static void probe_destroy(op_t *op) { ((probe_t *)op)->destroys++; }
static void probe_wake(op_t *op) { ((probe_t *)op)->wakes++; }
static const op_class_t probe_class = {"probe", probe_cancel, probe_destroy};

static void probe_init(probe_t *p) {
  memset(p, 0, sizeof *p);
  op_init(&p->op, &probe_class);
  p->op.wake = probe_wake;
  op_submit(&p->op);
}

static void completes_once_and_is_freed_by_the_last_holder(void **state) {
  probe_t p;
  probe_init(&p);
  op_complete(&p.op);
  assert_true(op_is_done(&p.op));
  assert_int_equal(p.wakes, 1);
  assert_int_equal(p.destroys, 0);
  op_release(&p.op);
  assert_int_equal(p.destroys, 1);
  assert_int_equal(p.cancels, 0);
}

static void cancelled_is_never_woken_and_lives_until_the_transport_lets_go(void **state) {
  probe_t p;
  probe_init(&p);
  op_release(&p.op);
  assert_int_equal(p.cancels, 1);
  assert_int_equal(p.destroys, 0);
  op_complete(&p.op);
  assert_int_equal(p.wakes, 0);
  assert_int_equal(p.destroys, 1);
}

static void may_complete_inside_cancel(void **state) {
  probe_t p;
  probe_init(&p);
  p.complete_in_cancel = true;
  op_release(&p.op);
  assert_int_equal(p.cancels, 1);
  assert_int_equal(p.wakes, 0);
  assert_int_equal(p.destroys, 1);
}

static void parts_are_told_to_who_asked_and_only_while_pending(void **state) {
  probe_t p;
  probe_init(&p);
  op_tell_part(&p.op);
  assert_int_equal(p.wakes, 0);
  p.op.part = probe_wake;
  op_tell_part(&p.op);
  assert_int_equal(p.wakes, 1);
  assert_false(op_is_done(&p.op));
  op_release(&p.op);
  op_tell_part(&p.op);
  assert_int_equal(p.wakes, 1);
  op_complete(&p.op);
  assert_int_equal(p.destroys, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(completes_once_and_is_freed_by_the_last_holder),
      cmocka_unit_test(cancelled_is_never_woken_and_lives_until_the_transport_lets_go),
      cmocka_unit_test(may_complete_inside_cancel),
      cmocka_unit_test(parts_are_told_to_who_asked_and_only_while_pending),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
