/* task.c - task.sleep, task.timeout, conditions and the methods of a task; groups are in group.c. */
#include <math.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "beside.h"
#include "error.h"
#include "group.h"
#include "inspect.h"
#include "modules.h"
#include "runtime/scheduler.h"
#include "runtime/task_internal.h"

#define CONDITION_METATABLE "pgafrun.Condition"

uint64_t task_seconds(lua_State *L, int index, uint64_t missing) {
  if (lua_isnoneornil(L, index)) return missing;
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds == seconds, index, "not a number of seconds");
  if (seconds <= 0) return 0;
  return seconds < 1e9 ? (uint64_t)(seconds * 1e9) : TASK_NEVER;
}

static uint64_t from_now(uint64_t relative) {
  return relative == TASK_NEVER ? TASK_NEVER : uv_hrtime() + relative;
}

static bool raised(wake_cause_t cause) { return cause == WAKE_CANCELLED || cause == WAKE_DEADLINE; }

/* --- sleep, yield, check -------------------------------------------------------------------------------- */

static int sleep_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = scheduler_of(L)->running;
  return raised(t->cause) ? error_raise_interrupt(L, t, "task.sleep", false) : 0;
}

static int yield_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = scheduler_of(L)->running;
  t->cause = (uint8_t)task_pending_interrupt(t);
  return raised(t->cause) ? error_raise_interrupt(L, t, "task.yield", false) : 0;
}

static int ltask_yield(lua_State *L) {
  return task_suspend_ready(L, task_require(L, "task.yield"), yield_end);
}

static int ltask_sleep(lua_State *L) {
  luaL_checknumber(L, 1);
  uint64_t relative = task_seconds(L, 1, 0);
  task_t *t = task_require(L, "task.sleep");
  if (relative == 0) return task_suspend_ready(L, t, yield_end);
  return task_suspend(L, t, NULL, from_now(relative), "task.sleep", 0, sleep_end);
}

static int ltask_check(lua_State *L) {
  task_t *t = scheduler_of(L)->running;
  if (!t) return 0;
  wake_cause_t cause = task_pending_interrupt(t);
  if (cause == WAKE_DONE) return 0;
  t->cause = (uint8_t)cause;
  return error_raise_interrupt(L, t, "task.check", false);
}

static int ltask_remaining(lua_State *L) {
  task_t *t = scheduler_of(L)->running;
  uint64_t now = uv_hrtime(), deadline = t ? t->scope->deadline : TASK_NEVER;
  lua_pushnumber(L, deadline == TASK_NEVER ? HUGE_VAL : deadline > now ? (double)(deadline - now) / 1e9 : 0);
  return 1;
}

static int ltask_current(lua_State *L) {
  scheduler_t *s = scheduler_of(L);
  if (!s->running) return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, s->tasks_ref);
  lua_rawgeti(L, -1, s->running->anchor);
  return 1;
}

/* --- timeout and shield --------------------------------------------------------------------------------- */

/* Stack: scope, message handler, results or error. ctx carries pcall's status over the waits of a sweep. */
static int scoped_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = scheduler_of(L)->running;
  scope_t *s = lua_touserdata(L, 1);
  lua_KContext outcome = ctx ? ctx : status + 1;
  while (t->scope != s) { /* a group that f left open */
    scope_t *inner = t->scope;
    if (inner->live) {
      scope_cancel(inner, CANCEL_REQUESTED);
      return task_suspend_firmly(L, t, &inner->waiters, "the end of a group's tasks", outcome, scoped_end);
    }
    scope_close(L, inner);
  }
  scope_close(L, s);
  if (outcome != LUA_OK + 1 && outcome != LUA_YIELD + 1) return lua_error(L);
  return lua_gettop(L) - 2;
}

static int scoped(lua_State *L, const char *what, bool shield) {
  luaL_checknumber(L, 1);
  luaL_checkany(L, 2);
  uint64_t relative = task_seconds(L, 1, 0);
  task_t *t = task_require(L, what);
  scope_t *s = lua_newuserdatauv(L, sizeof *s, 0);
  lua_replace(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->scheduler->handler_ref);
  lua_insert(L, 2);
  scope_open(s, t, relative, shield);
  return scoped_end(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, scoped_end), 0);
}

static int ltask_timeout(lua_State *L) { return scoped(L, "task.timeout", false); }
static int ltask_shield(lua_State *L) { return scoped(L, "task.shield", true); }

/* --- conditions ----------------------------------------------------------------------------------------- */

static int lcondition_new(lua_State *L) {
  waitlist_t *list = lua_newuserdatauv(L, sizeof *list, 0);
  *list = (waitlist_t){0};
  luaL_setmetatable(L, CONDITION_METATABLE);
  return 1;
}

static int condition_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = scheduler_of(L)->running;
  if (raised(t->cause)) return error_raise_interrupt(L, t, "condition:wait", false);
  lua_pushboolean(L, t->cause == WAKE_DONE);
  return 1;
}

static int lcondition_wait(lua_State *L) {
  waitlist_t *list = luaL_checkudata(L, 1, CONDITION_METATABLE);
  uint64_t relative = task_seconds(L, 2, TASK_NEVER);
  task_t *t = task_require(L, "condition:wait");
  return task_suspend(L, t, list, from_now(relative), "condition:wait", 0, condition_end);
}

static int lcondition_notify(lua_State *L) {
  waitlist_t *list = luaL_checkudata(L, 1, CONDITION_METATABLE);
  lua_pushinteger(L, waitlist_wake(list, (int)luaL_optinteger(L, 2, -1)));
  return 1;
}

/* --- a task's own methods ------------------------------------------------------------------------------- */

static task_t *check_task(lua_State *L) { return luaL_checkudata(L, 1, TASK_METATABLE); }

static int join_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = check_task(L);
  if (t->state < TASK_DONE) {
    task_t *self = scheduler_of(L)->running;
    return error_raise_interrupt(L, self, "task:wait", false);
  }
  int n = lua_gettop(t->co);
  if (t->state != TASK_DONE) {
    if (!lua_checkstack(t->co, 1)) return memory_raise(L, "task:wait");
    lua_pushvalue(t->co, -1);
    lua_xmove(t->co, L, 1);
    return lua_error(L);
  }
  stack_reserve(L, n, "the results of a task");
  if (!lua_checkstack(t->co, n)) return memory_raise(L, "task:wait");
  for (int i = 1; i <= n; i++) lua_pushvalue(t->co, i);
  lua_xmove(t->co, L, n);
  return n;
}

static int ltask_wait(lua_State *L) {
  task_t *t = check_task(L);
  if (t->state >= TASK_DONE) return join_end(L, LUA_OK, 0);
  task_t *self = task_require(L, "task:wait");
  luaL_argcheck(L, self != t, 1, "a task cannot wait for its own end");
  return task_suspend(L, self, &t->joiners, TASK_NEVER, "task:wait", 0, join_end);
}

static int ltask_cancel(lua_State *L) {
  task_cancel(check_task(L), CANCEL_REQUESTED);
  return 0;
}

static int ltask_status(lua_State *L) {
  lua_pushstring(L, task_state_name(check_task(L)));
  return 1;
}

static int ltask_name(lua_State *L) {
  task_t *t = check_task(L);
  if (t->name)
    lua_pushstring(L, t->name);
  else
    lua_pushfstring(L, "task %d", (int)t->id);
  return 1;
}

static int ltask_list(lua_State *L) {
  lua_newtable(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, scheduler_of(L)->tasks_ref);
  lua_pushnil(L);
  for (int i = 1; lua_next(L, 2);) {
    const task_t *t = luaL_testudata(L, -1, TASK_METATABLE);
    if (t) { /* luaL_ref keeps its free list in the same table */
      lua_createtable(L, 0, 5);
      lua_pushinteger(L, t->id);
      lua_setfield(L, -2, "id");
      lua_pushstring(L, t->name ? t->name : "");
      lua_setfield(L, -2, "name");
      lua_pushstring(L, task_state_name(t));
      lua_setfield(L, -2, "status");
      if (t->state == TASK_WAITING) {
        lua_pushstring(L, t->waiting_for);
        lua_setfield(L, -2, "waiting_for");
        lua_pushnumber(L, (double)t->since / 1e9);
        lua_setfield(L, -2, "since");
      }
      lua_rawseti(L, 1, i++);
    }
    lua_pop(L, 1);
  }
  lua_settop(L, 1);
  return 1;
}

static const luaL_Reg task_functions[] = {{"abort", beside_abort},
                                          {"check", ltask_check},
                                          {"condition", lcondition_new},
                                          {"current", ltask_current},
                                          {"group", group_new},
                                          {"handles", inspect_handles},
                                          {"interlude", beside_interlude},
                                          {"list", ltask_list},
                                          {"on_failure", beside_on_failure},
                                          {"remaining", ltask_remaining},
                                          {"service", beside_service},
                                          {"shield", ltask_shield},
                                          {"sleep", ltask_sleep},
                                          {"timeout", ltask_timeout},
                                          {"tree", inspect_tree},
                                          {"yield", ltask_yield},
                                          {NULL, NULL}};

static const luaL_Reg task_methods[] = {{"wait", ltask_wait},          {"cancel", ltask_cancel},
                                        {"status", ltask_status},      {"label", ltask_name},
                                        {"patience", beside_patience}, {NULL, NULL}};

static const luaL_Reg condition_methods[] = {{"wait", lcondition_wait},
                                             {"notify", lcondition_notify},
                                             {NULL, NULL}};

int luaopen_pgafrun_task(lua_State *L) {
  task_push_metatable(L);
  luaL_newlib(L, task_methods);
  lua_setfield(L, -2, "__index");
  luaL_newmetatable(L, CONDITION_METATABLE);
  luaL_newlib(L, condition_methods);
  lua_setfield(L, -2, "__index");
  group_register(L);
  luaL_newlib(L, task_functions);
  return 1;
}
