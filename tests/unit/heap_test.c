#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/heap.h"

enum { COUNT = 1000 };

static void entries_come_out_in_order_whatever_was_removed(void **state) {
  heap_t heap = {0};
  heap_entry_t entries[COUNT];
  uint32_t random = 7; /* a linear congruential sequence: the same in each run */
  for (int i = 0; i < COUNT; i++) {
    random = random * 1664525 + 1013904223;
    entries[i] = (heap_entry_t){.at = (random >> 16) % 300, .index = HEAP_NONE};
    assert_true(heap_insert(&heap, &entries[i]));
  }
  for (int i = 0; i < COUNT; i += 3) heap_remove(&heap, &entries[i]);
  heap_remove(&heap, &entries[0]); /* not in it any more: harmless */
  uint64_t last = 0;
  size_t left = 0;
  for (heap_entry_t *e; (e = heap_first(&heap)) != NULL; left++) {
    assert_true(e->at >= last);
    last = e->at;
    heap_remove(&heap, e);
    assert_int_equal(e->index, HEAP_NONE);
  }
  assert_int_equal(left, COUNT - (COUNT + 2) / 3);
  heap_free(&heap);
}

static void an_empty_heap_has_no_first(void **state) {
  heap_t heap = {0};
  assert_null(heap_first(&heap));
  heap_free(&heap);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(entries_come_out_in_order_whatever_was_removed),
      cmocka_unit_test(an_empty_heap_has_no_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
