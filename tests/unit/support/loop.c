#include "loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/http.h"

void loop_begin(runtime_t *runtime) {
  memset(runtime, 0, sizeof *runtime);
  assert_int_equal(uv_loop_init(&runtime->loop), 0);
}

void loop_end(runtime_t *runtime) {
  http_free(runtime);
  uv_run(&runtime->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&runtime->loop), 0);
}

static void on_wake(op_t *op) { *(bool *)op->waiter = true; }

void loop_wait(runtime_t *runtime, op_t *op) {
  bool woken = op_is_done(op);
  op->waiter = &woken;
  op->wake = on_wake;
  while (!woken) uv_run(&runtime->loop, UV_RUN_ONCE);
  assert_true(op_is_done(op));
}

static void on_time(uv_timer_t *timer) { *(bool *)timer->data = true; }

void loop_run_for(runtime_t *runtime, unsigned milliseconds) {
  bool over = false;
  uv_timer_t timer;
  uv_timer_init(&runtime->loop, &timer);
  timer.data = &over;
  uv_timer_start(&timer, on_time, milliseconds, 0);
  while (!over) uv_run(&runtime->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&runtime->loop, UV_RUN_NOWAIT);
}
