/* async.c - the bridge between a waiting task and an operation; async.h has the pattern. */
#include "async.h"

#include <lauxlib.h>

#include "collect.h"
#include "error.h"
#include "runtime/scheduler.h"

#define ASYNC_METATABLE "pgafrun.async"

struct async {
  op_t *op;
  async_finish_t finish;
  async_take_t take; /* of parts; NULL without */
  double seconds;    /* how long at most; 0: as long as it takes */
  uint64_t at;       /* when that is over */
  const char *operation;
  const char *subject; /* NULL without */
  int index;           /* of this userdata on the caller's stack */
  bool nil_on_timeout;
};

runtime_t *runtime_of(lua_State *L) { return *(runtime_t **)lua_getextraspace(L); }

static void async_release(async_t *a) {
  op_t *op = a->op;
  a->op = NULL;
  if (op) op_release(op);
}

static int async_gc(lua_State *L) {
  async_release(lua_touserdata(L, 1));
  return 0;
}

async_t *async_begin(lua_State *L, const char *operation) {
  task_t *t = task_require(L, operation);
  wake_cause_t pending = task_pending_interrupt(t);
  if (pending != WAKE_DONE) { /* before anything is started: a cancelled task must not act */
    t->cause = (uint8_t)pending;
    error_raise_interrupt(L, t, operation, false);
  }
  async_t *a = lua_newuserdatauv(L, sizeof *a, 0);
  *a = (async_t){.operation = operation, .index = lua_gettop(L)};
  collect_by(L, ASYNC_METATABLE, async_gc);
  return a;
}

void async_about(async_t *a, const char *subject) { a->subject = subject; }

static void async_wake(op_t *op) { task_wake(op->waiter, WAKE_DONE); }

static int async_interrupted(lua_State *L, async_t *a) {
  task_t *t = scheduler_of(L)->running;
  const char *operation = a->operation;
  bool unknown = a->op->mutates;
  async_release(a); /* a itself stays: it is on the stack */
  if (t->cause != WAKE_TIMER) return error_raise_interrupt(L, t, operation, unknown);
  if (a->nil_on_timeout) {
    lua_pushnil(L);
    return 1;
  }
  failure_t f = {0};
  failure_set(&f, "timeout", "timeout", "%s%sthe time limit of %g s passed", a->subject ? a->subject : "",
              a->subject ? " did not end: " : "", a->seconds);
  f.retryable = true;
  f.outcome_unknown = unknown;
  return failure_raise(L, &f, operation);
}

static int async_suspend(lua_State *L, async_t *a);

static int async_continue(lua_State *L, int status, lua_KContext ctx) {
  async_t *a = lua_touserdata(L, (int)ctx);
  op_t *op = a->op;
  if (!op_is_done(op)) {
    if (scheduler_of(L)->running->cause != WAKE_DONE) return async_interrupted(L, a);
    a->take(L, op);
    return async_suspend(L, a);
  }
  if (failure_is_set(&op->failure)) {
    failure_push(L, &op->failure, op->class->name, 1);
    async_release(a);
    return lua_error(L);
  }
  int n = a->finish(L, op);
  async_release(a);
  return n;
}

static int async_suspend(lua_State *L, async_t *a) {
  return task_suspend(L, scheduler_of(L)->running, NULL, a->at, a->op->class->name, a->index, async_continue);
}

int async_wait(lua_State *L, async_t *a, op_t *op, double seconds, async_finish_t finish) {
  a->op = op;
  a->finish = finish;
  if (op_is_done(op)) return async_continue(L, LUA_OK, a->index);
  op->waiter = scheduler_of(L)->running;
  op->wake = async_wake;
  op->part = a->take ? async_wake : NULL;
  a->seconds = seconds;
  a->at = seconds > 0 && seconds < 1e9 ? uv_hrtime() + (uint64_t)(seconds * 1e9) : TASK_NEVER;
  return async_suspend(L, a);
}

int async_wait_or_nil(lua_State *L, async_t *a, op_t *op, double seconds, async_finish_t finish) {
  a->nil_on_timeout = true;
  return async_wait(L, a, op, seconds, finish);
}

int async_wait_in_parts(lua_State *L, async_t *a, op_t *op, double seconds, async_take_t take,
                        async_finish_t finish) {
  a->take = take;
  return async_wait(L, a, op, seconds, finish);
}
