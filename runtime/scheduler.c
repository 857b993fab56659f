/* scheduler.c - the ready queue, the clock, and the watch over scripts that spin.
 *
 * Lua offers one asynchronous-signal-safe door: lua_sethook. While tasks run, a POSIX timer is armed; when a resume
 * lasts longer than WATCH_MS, its handler (on the same thread) hooks the running coroutine, and the hook raises what a
 * wait would have raised: cancellation or deadline. A count hook that is always on would cost every script half its
 * speed; this costs two system calls a batch. */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "log.h"
#include "runtime.h"
#include "task_internal.h"
#include "tty.h"

enum {
  BUDGET_SWITCHES = 2000, /* resumes between two looks at the sockets */
  BUDGET_NS = 5000000,
  WATCH_MS = 200,
  SPIN_TOLD_NS = 1000000000,
  INTERRUPTS_TAKEN = 2, /* of one taker; the third means that it does not help */
  HOOK_COUNT = 1000,
  OWN_COROUTINE_COUNT = 100000,
  NESTED_MAX = 8 /* each takes of the C stack */
};

/* Mutable statics, here and in tty_mode.c alone: a signal handler has no other way to find anything. */
static volatile sig_atomic_t signal_received;
static scheduler_t *signal_scheduler;
static volatile sig_atomic_t interrupts_taken;  /* SIGINT is somebody's */
static volatile sig_atomic_t interrupts;        /* how many have come since */
static volatile sig_atomic_t interrupt_pending; /* and one has not been delivered */

scheduler_t *scheduler_of(lua_State *L) { return (*(runtime_t **)lua_getextraspace(L))->scheduler; }

int scheduler_signalled(void) { return signal_received; }

void scheduler_take_interrupts(scheduler_t *s, void (*interrupt)(void *arg), void *arg) {
  interrupts_taken = 0;
  s->interrupt = interrupt;
  s->interrupt_arg = arg;
  interrupts = interrupt_pending = 0;
  interrupts_taken = interrupt && !signal_received; /* who is asked to end is not to begin anew */
}

/* What signals have asked for since the last look. */
static void deliver_signals(scheduler_t *s) {
  if (interrupt_pending) {
    interrupt_pending = 0;
    if (s->interrupt) s->interrupt(s->interrupt_arg);
  }
  if (signal_received) scheduler_cancel(s);
}

/* --- spinning ------------------------------------------------------------------------------------------- */

static void spin_hook(lua_State *L, lua_Debug *ar) {
  scheduler_t *s = scheduler_of(L);
  task_t *t = s->running;
  if (!t) return;
  deliver_signals(s);
  uint64_t spun = uv_hrtime() - s->running_since;
  if (spun < (uint64_t)WATCH_MS * 1000000) return;
  if (!s->spin_told && spun > SPIN_TOLD_NS) {
    s->spin_told = true;
    luaL_where(L, 0);
    log_write(&(*(runtime_t **)lua_getextraspace(L))->log, LOG_WARN,
              "%sa task has been running for %.1f s without waiting: nothing else can run meanwhile",
              lua_tostring(L, -1), (double)spun / 1e9);
    lua_pop(L, 1);
  }
  wake_cause_t cause = task_pending_interrupt(t);
  if (cause == WAKE_DONE && t->patience && spun > t->patience) {
    luaL_where(L, 0);
    lua_pushfstring(L, "stopped, because nothing else could run for %f s: it computes without waiting",
                    (lua_Number)spun / 1e9);
    lua_concat(L, 2);
    lua_error(L);
  }
  if (cause == WAKE_DONE) return;
  t->cause = (uint8_t)cause;
  s->raise_interrupt(L, t, "running", false);
}

void scheduler_watch(lua_State *co) { lua_sethook(co, spin_hook, LUA_MASKCOUNT, OWN_COROUTINE_COUNT); }

static void watchdog_fired(int signo) {
  scheduler_t *s = signal_scheduler;
  if (s && s->running) lua_sethook(s->running->co, spin_hook, LUA_MASKCOUNT, HOOK_COUNT);
}

static void watchdog_set(scheduler_t *s, bool on) {
  if (!s->has_watchdog) return;
  const struct timespec every = {.tv_nsec = on ? WATCH_MS * 1000000L : 0};
  const struct itimerspec spec = {.it_interval = every, .it_value = every};
  timer_settime(s->watchdog, 0, &spec, NULL);
}

static void watchdog_init(scheduler_t *s) {
  struct sigaction action = {.sa_handler = watchdog_fired, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
  s->has_watchdog =
      sigaction(SIGURG, &action, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &s->watchdog) == 0;
}

/* --- signals -------------------------------------------------------------------------------------------- */

void scheduler_signal(scheduler_t *s, int signo) {
  if (signo == SIGINT && interrupts_taken && interrupts < INTERRUPTS_TAKEN) {
    interrupts++;
    interrupt_pending = 1;
    uv_async_send(&s->signal);
    return;
  }
  if (signal_received) { /* the second one ends at once */
    tty_restore();
    _exit(128 + signo);
  }
  signal_received = signo;
  uv_async_send(&s->signal);
}

void scheduler_cancel(scheduler_t *s) { scope_cancel(&s->root, CANCEL_SIGNAL); }

static void signal_arrived(uv_async_t *handle) { deliver_signals(handle->data); }

/* --- time ----------------------------------------------------------------------------------------------- */

static void timer_arm(scheduler_t *s);

static void timer_due(uv_timer_t *timer) {
  scheduler_t *s = timer->data;
  uint64_t now = uv_hrtime();
  s->timer_at = TASK_NEVER;
  for (heap_entry_t *e; (e = heap_first(&s->heap)) && e->at <= now;) {
    task_t *t = (task_t *)e;
    task_wake(t, t->scope->deadline <= now ? WAKE_DEADLINE : WAKE_TIMER);
  }
  /* libuv counts whole milliseconds and may come up to one early; without a timer the loop would then sleep for ever */
  if (!s->ready.head) timer_arm(s);
}

static void timer_arm(scheduler_t *s) {
  heap_entry_t *first = heap_first(&s->heap);
  uint64_t at = first ? first->at : TASK_NEVER;
  if (at == s->timer_at) return;
  s->timer_at = at;
  if (!first) {
    uv_timer_stop(&s->timer);
    return;
  }
  uv_update_time(s->loop);
  uint64_t now = uv_hrtime();
  uv_timer_start(&s->timer, timer_due, at > now ? (at - now + 999999) / 1000000 : 0, 0);
}

/* --- running -------------------------------------------------------------------------------------------- */

static void scheduler_resume(scheduler_t *s, task_t *t) {
  int nargs = t->nargs, nresults = 0;
  t->nargs = 0;
  t->state = TASK_RUNNING;
  s->running = t;
  s->running_since = uv_hrtime();
  s->switches++;
  int status = lua_resume(t->co, s->L, nargs, &nresults);
  s->running = NULL;
  if (lua_gethook(t->co)) lua_sethook(t->co, NULL, 0, 0);
  if (status != LUA_YIELD) {
    task_end(s->L, t, status);
    return;
  }
  lua_pop(t->co, nresults);
  if (t->state == TASK_RUNNING) { /* a bare coroutine.yield(): let others run */
    t->state = TASK_WAITING;
    task_wake(t, WAKE_DONE);
  }
}

static void scheduler_drain(scheduler_t *s) {
  if (!s->ready.head) return;
  uint64_t start = uv_hrtime();
  s->spin_told = false;
  watchdog_set(s, true);
  for (int n = 0; n < BUDGET_SWITCHES && s->ready.head; n++) {
    task_t *t = s->ready.head;
    waitlist_remove(t);
    scheduler_resume(s, t);
    if (s->running_since - start > BUDGET_NS) break;
  }
  watchdog_set(s, false);
}

/* Looks at the sockets and the clock. False when nothing can ever become ready. */
static bool scheduler_poll(scheduler_t *s) {
  timer_arm(s);
  s->in_loop = true;
  int alive = uv_run(s->loop, s->ready.head ? UV_RUN_NOWAIT : UV_RUN_ONCE);
  s->in_loop = false;
  return alive || s->ready.head || s->heap.count;
}

bool scheduler_run(scheduler_t *s, task_t *task) {
  while (task->state < TASK_DONE) {
    scheduler_drain(s);
    if (task->state < TASK_DONE && !scheduler_poll(s)) return false;
  }
  return true;
}

bool scheduler_nest(scheduler_t *s, task_t *task) {
  if (s->nested == NESTED_MAX) return false;
  task_t *standing = s->running;
  s->running = NULL;
  s->nested++;
  bool ended = scheduler_run(s, task);
  s->nested--;
  s->running = standing;
  s->running_since = uv_hrtime(); /* it has not been spinning */
  watchdog_set(s, true);
  return ended;
}

static void end_of_patience(uv_timer_t *timer) {}

void scheduler_end_services(scheduler_t *s, uint64_t most) {
  uint64_t until = uv_hrtime() + most;
  uv_timer_t limit;
  scope_cancel(&s->services, CANCEL_REQUESTED);
  if (!s->services.live || uv_timer_init(s->loop, &limit) != 0) return;
  uv_timer_start(&limit, end_of_patience, most / 1000000 + 1,
                 0); /* only so that the loop does not sleep longer */
  while (s->services.live && uv_hrtime() < until) {
    scheduler_drain(s);
    if (s->services.live && !scheduler_poll(s)) break;
  }
  uv_close((uv_handle_t *)&limit, NULL);
  uv_run(s->loop, UV_RUN_NOWAIT); /* or its memory would be gone before libuv is through with it */
}

/* --- life ----------------------------------------------------------------------------------------------- */

void scheduler_open(scheduler_t *s, lua_State *L) {
  s->L = L;
  s->handler_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  s->tasks_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushliteral(L, "kind");
  s->kind_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

int scheduler_init(scheduler_t *s, uv_loop_t *loop) {
  memset(s, 0, sizeof *s);
  s->loop = loop;
  s->root = (scope_t){.scheduler = s, .deadline = TASK_NEVER, .open = true, .anchor = LUA_NOREF};
  s->services = s->root;
  s->timer_at = TASK_NEVER;
  int status = uv_timer_init(loop, &s->timer);
  if (status < 0) return status;
  s->timer.data = s;
  status = uv_async_init(loop, &s->signal, signal_arrived);
  if (status < 0) return status;
  s->signal.data = s;
  uv_unref((uv_handle_t *)&s->signal);
  signal_scheduler = s;
  watchdog_init(s);
  return 0;
}

void scheduler_stop(scheduler_t *s) {
  interrupts_taken = 0;
  signal_scheduler = NULL;
  if (s->has_watchdog) timer_delete(s->watchdog);
  s->has_watchdog = false;
  uv_close((uv_handle_t *)&s->timer, NULL);
  if (s->signal.type == UV_ASYNC) uv_close((uv_handle_t *)&s->signal, NULL); /* else its start failed */
}

void scheduler_free(scheduler_t *s) { heap_free(&s->heap); }
