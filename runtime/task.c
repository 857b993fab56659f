/* task.c - one task: its birth, its waits, its end. Resuming is scheduler.c's alone. */
#include "task.h"

#include <string.h>

#include <lauxlib.h>

#include "scheduler.h"
#include "task_internal.h"

/* --- waitlists ------------------------------------------------------------------------------------------ */

void waitlist_append(waitlist_t *list, task_t *t) {
  t->waitlist = list;
  t->queue_next = NULL;
  t->queue_prev = list->tail;
  if (list->tail)
    list->tail->queue_next = t;
  else
    list->head = t;
  list->tail = t;
}

void waitlist_remove(task_t *t) {
  waitlist_t *list = t->waitlist;
  if (!list) return;
  if (t->queue_prev)
    t->queue_prev->queue_next = t->queue_next;
  else
    list->head = t->queue_next;
  if (t->queue_next)
    t->queue_next->queue_prev = t->queue_prev;
  else
    list->tail = t->queue_prev;
  t->waitlist = NULL;
  t->queue_next = t->queue_prev = NULL;
}

int waitlist_wake(waitlist_t *list, int n) {
  int woken = 0;
  while (list->head && (n < 0 || woken < n)) {
    task_wake(list->head, WAKE_DONE);
    woken++;
  }
  return woken;
}

/* --- the body ------------------------------------------------------------------------------------------- */

/* A task must not leave scopes behind: whoever forgot `<close>` is told, and the orphans are ended first. */
static int task_sweep(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = scheduler_of(L)->running;
  while (t->scope != t->base) {
    scope_t *s = t->scope;
    if (s->live) {
      scope_cancel(s, CANCEL_REQUESTED);
      return task_suspend_firmly(L, t, &s->waiters, "the end of a group's tasks", 0, task_sweep);
    }
    scope_close(L, s);
  }
  return lua_gettop(L) - 1;
}

static int task_main_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = scheduler_of(L)->running;
  t->failed = status != LUA_OK && status != LUA_YIELD;
  if (t->scope != t->base && !t->failed) {
    t->failed = true;
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "a group was left open when its task ended: hold it in a `local g <close>` variable");
    lua_call(L, 1, 1);
  }
  return task_sweep(L, LUA_OK, 0);
}

/* The base of every task's stack is this protected call: an error that reached lua_resume itself would leave
 * <close> variables unclosed (Lua 5.4.4). */
static int task_main(lua_State *L) {
  int nargs = lua_gettop(L) - 1;
  lua_rawgeti(L, LUA_REGISTRYINDEX, scheduler_of(L)->handler_ref);
  lua_insert(L, 1);
  return task_main_end(L, lua_pcallk(L, nargs, LUA_MULTRET, 1, 0, task_main_end), 0);
}

/* --- birth ---------------------------------------------------------------------------------------------- */

static int task_tostring(lua_State *L) {
  task_t *t = lua_touserdata(L, 1);
  lua_pushfstring(L, "task %d (%s): %s", (int)t->id, t->name ? t->name : "unnamed", task_state_name(t));
  return 1;
}

void task_push_metatable(lua_State *L) {
  if (luaL_getmetatable(L, TASK_METATABLE) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 3);
  lua_pushliteral(L, TASK_METATABLE);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, task_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX,
               TASK_METATABLE); /* last: what memory did not suffice for is not registered */
}

task_t *task_spawn(lua_State *L, scope_t *base, int group_index, int nargs, const char *name) {
  scheduler_t *s = base->scheduler;
  int function_index = lua_gettop(L) - nargs;
  luaL_checkstack(L, 8, "spawning a task");
  size_t name_size = name ? strlen(name) + 1 : 0;
  task_t *t = lua_newuserdatauv(L, sizeof *t + name_size, 2);
  memset(t, 0, sizeof *t);
  if (name) t->name = memcpy(t + 1, name, name_size);
  t->timer.index = HEAP_NONE;
  task_push_metatable(L);
  lua_setmetatable(L, -2);
  t->co = lua_newthread(L);
  lua_sethook(t->co, NULL, 0, 0); /* inherited: the watch is over who spins, not over those that it spawns */
  lua_setiuservalue(L, -2, 1);
  if (group_index) {
    lua_pushvalue(L, group_index);
    lua_setiuservalue(L, -2, 2);
  }
  if (!lua_checkstack(t->co, nargs + 2)) luaL_error(L, "too many arguments for a task");
  lua_rawgeti(L, LUA_REGISTRYINDEX, s->tasks_ref);
  lua_pushvalue(L, -2);
  t->anchor = luaL_ref(L, -2);
  lua_pop(L, 1);

  lua_insert(L, function_index); /* userdata, f, args... */
  lua_pushcfunction(t->co, task_main);
  lua_xmove(L, t->co, nargs + 1);
  t->scheduler = s;
  t->nargs = nargs + 1;
  t->base = t->scope = base;
  t->id = ++s->next_id;
  t->state = TASK_WAITING;
  t->sibling_next = base->tasks;
  if (base->tasks) base->tasks->sibling_prev = t;
  base->tasks = t;
  base->live++;
  task_wake(t, WAKE_DONE);
  return t;
}

/* --- waiting -------------------------------------------------------------------------------------------- */

task_t *task_require(lua_State *L, const char *what) {
  scheduler_t *s = scheduler_of(L);
  task_t *t = s->running;
  if (!t || t->co != L)
    luaL_error(L, "%s waits, and a coroutine of your own cannot wait: use task.group and spawn", what);
  if (!lua_isyieldable(L))
    luaL_error(L,
               "%s waits, which is impossible here: while a module is being required, inside table.sort, "
               "string.gsub, a metamethod called from C or an iterator of theirs",
               what);
  return t;
}

void task_wake(task_t *t, wake_cause_t cause) {
  if (t->state != TASK_WAITING) return;
  heap_remove(&t->scheduler->heap, &t->timer);
  waitlist_remove(t);
  t->state = TASK_READY;
  t->cause = (uint8_t)cause;
  t->uninterruptible = false;
  waitlist_append(&t->scheduler->ready, t);
  /* libuv before 1.45 runs timers first and then waits for events all the same, even in UV_RUN_ONCE: a task that
   * a timer has made ready would sleep until something else happens */
  if (t->scheduler->in_loop) uv_stop(t->scheduler->loop);
}

static int task_wait_in(lua_State *L, task_t *t, waitlist_t *list, uint64_t at, const char *what,
                        lua_KContext ctx, lua_KFunction k) {
  t->timer.at = at;
  if (at != TASK_NEVER && !heap_insert(&t->scheduler->heap, &t->timer)) {
    t->cause = WAKE_NO_MEMORY;
    return t->scheduler->raise_interrupt(L, t, what, false);
  }
  t->state = TASK_WAITING;
  t->waiting_for = what;
  t->since = uv_hrtime();
  if (list) waitlist_append(list, t);
  return lua_yieldk(L, 0, ctx, k);
}

int task_suspend(lua_State *L, task_t *t, waitlist_t *list, uint64_t at, const char *what, lua_KContext ctx,
                 lua_KFunction k) {
  wake_cause_t pending = task_pending_interrupt(t);
  if (pending != WAKE_DONE) {
    t->cause = (uint8_t)pending;
    return k(L, LUA_YIELD, ctx);
  }
  return task_wait_in(L, t, list, at < t->scope->deadline ? at : t->scope->deadline, what, ctx, k);
}

int task_suspend_firmly(lua_State *L, task_t *t, waitlist_t *list, const char *what, lua_KContext ctx,
                        lua_KFunction k) {
  t->uninterruptible = true;
  return task_wait_in(L, t, list, TASK_NEVER, what, ctx, k);
}

int task_suspend_ready(lua_State *L, task_t *t, lua_KFunction k) {
  t->state = TASK_WAITING;
  t->waiting_for = "its turn";
  task_wake(t, WAKE_DONE);
  return lua_yieldk(L, 0, 0, k);
}

const char *task_state_name(const task_t *t) {
  static const char *const names[] = {"ready", "running", "waiting", "done", "failed", "cancelled"};
  return names[t->state];
}

/* --- the end -------------------------------------------------------------------------------------------- */

/* The error on top of the task's stack: is it its own cancellation? Nothing catches an error that is raised here, and
 * in task_end, so nothing here may ask Lua for memory. */
static bool task_was_cancelled(lua_State *L, const task_t *t) {
  if (!t->cancel && !t->base->cancel) return false;
  if (!lua_istable(t->co, -1) || !lua_checkstack(t->co, 1)) return false;
  lua_rawgeti(t->co, LUA_REGISTRYINDEX, t->scheduler->kind_ref);
  lua_rawget(t->co, -2);
  bool cancelled = lua_type(t->co, -1) == LUA_TSTRING && strcmp(lua_tostring(t->co, -1), "cancelled") == 0;
  lua_pop(t->co, 1);
  return cancelled;
}

void task_end(lua_State *L, task_t *t, int status) {
  scope_t *base = t->base;
  if (status != LUA_OK) { /* the protected base itself failed: out of memory or of C stack */
    t->failed = true;
    while (t->scope != base) {
      scope_t *s = t->scope;
      scope_cancel(s, CANCEL_REQUESTED);
      scope_close(L, s);
      s->owner = NULL;
    }
    lua_resetthread(t->co);
  }
  t->state = !t->failed ? TASK_DONE : task_was_cancelled(L, t) ? TASK_CANCELLED : TASK_FAILED;

  if (t->sibling_prev)
    t->sibling_prev->sibling_next = t->sibling_next;
  else
    base->tasks = t->sibling_next;
  if (t->sibling_next) t->sibling_next->sibling_prev = t->sibling_prev;
  base->live--;

  if (t->state == TASK_FAILED && base->parent) {
    if (!base->failed && base->anchor != LUA_NOREF && lua_checkstack(t->co, 1)) {
      lua_rawgeti(L, LUA_REGISTRYINDEX, base->anchor);
      lua_pushvalue(t->co, -1);
      lua_xmove(t->co, L, 1);
      lua_setiuservalue(L, -2, 1);
      lua_pop(L, 1);
    }
    base->failed = true;
    scope_cancel(base, CANCEL_SIBLING);
  }
  waitlist_wake(&t->joiners, -1);
  if (!base->live) waitlist_wake(&base->waiters, -1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->scheduler->tasks_ref);
  luaL_unref(L, -1, t->anchor);
  lua_pop(L, 1);
}
