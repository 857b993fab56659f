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

/* Both are stopped by uv_stop, not watched by UV_RUN_ONCE: that one goes on to wait for events after its timers ran,
 * although one of them may have been what was waited for. */
static void on_wake(op_t *op) { uv_stop(op->waiter); }

void loop_wait(runtime_t *runtime, op_t *op) {
  if (op_is_done(op)) return;
  op->waiter = &runtime->loop;
  op->wake = on_wake;
  while (!op_is_done(op)) uv_run(&runtime->loop, UV_RUN_DEFAULT);
}

static void on_time(uv_timer_t *timer) { uv_stop(timer->loop); }

void loop_run_for(runtime_t *runtime, unsigned milliseconds) {
  uv_timer_t timer;
  uv_timer_init(&runtime->loop, &timer);
  uv_timer_start(&timer, on_time, milliseconds, 0);
  while (uv_is_active((uv_handle_t *)&timer)) uv_run(&runtime->loop, UV_RUN_DEFAULT);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&runtime->loop, UV_RUN_NOWAIT);
}

/* A test that failed halfway leaves handles open: the limit lets its message be seen instead of a hang. */
void loop_end(runtime_t *runtime) {
  http_free(runtime);
  uv_timer_t limit;
  uv_timer_init(&runtime->loop, &limit);
  uv_timer_start(&limit, on_time, 10000, 0);
  uv_unref((uv_handle_t *)&limit);
  uv_run(&runtime->loop, UV_RUN_DEFAULT);
  uv_close((uv_handle_t *)&limit, NULL);
  uv_run(&runtime->loop, UV_RUN_NOWAIT);
  assert_int_equal(uv_loop_close(&runtime->loop), 0);
}
