#include "beside.h"

#include <lauxlib.h>

#include "async.h"
#include "group.h"
#include "runtime/scheduler.h"
#include "runtime/task_internal.h"

#define ON_FAILURE "pgafrun.on_failure"

/* What the stack must still have room for, or no failure is told: it may be one of the stack itself. */
enum { FAILURE_STACK = 40 };

int beside_service(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  task_t *t = task_spawn(L, &scheduler_of(L)->services, 0, lua_gettop(L) - 2, name);
  t->aside = true;
  return 1;
}

/* Stack: the task that was waited for. */
static int interlude_end(lua_State *L, int status, lua_KContext ctx) {
  task_t *t = lua_touserdata(L, 1);
  lua_pushboolean(L, t->state == TASK_DONE);
  if (t->state < TASK_DONE) {
    lua_pushliteral(L, "the task can never end: it waits for what nothing else brings about");
  } else if (t->state != TASK_DONE && lua_checkstack(t->co, 1)) {
    lua_pushvalue(t->co, -1);
    lua_xmove(t->co, L, 1);
  } else {
    return 1;
  }
  return 2;
}

int beside_interlude(lua_State *L) {
  scheduler_t *s = scheduler_of(L);
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  task_t *standing = s->running;
  if (!standing) return luaL_error(L, "no task runs here that could stand still");
  task_t *t = task_spawn(L, &s->root, 0, lua_gettop(L) - 2, name);
  t->aside = true;
  lua_replace(L, 1);
  lua_settop(L, 1);
  if (standing->co == L && lua_isyieldable(L))
    return task_suspend_firmly(L, standing, &t->joiners, "an interlude", 0, interlude_end);
  if (!scheduler_nest(s, t)) {
    task_cancel(t, CANCEL_REQUESTED);
    scheduler_nest(s, t);
  }
  return interlude_end(L, LUA_OK, 0);
}

int beside_patience(lua_State *L) {
  task_t *t = luaL_checkudata(L, 1, TASK_METATABLE);
  luaL_checknumber(L, 2);
  t->patience = task_seconds(L, 2, 0);
  return 0;
}

int beside_abort(lua_State *L) {
  scope_cancel(&scheduler_of(L)->root, CANCEL_REQUESTED);
  return 0;
}

/* Is this task, or one that it was spawned below, no part of the script? */
static bool is_aside(const task_t *t) {
  for (; t; t = t->base->owner)
    if (t->aside) return true;
  return false;
}

/* --- failures -------------------------------------------------------------------------------------------- */

int beside_on_failure(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, ON_FAILURE);
  return 0;
}

void beside_tell_failure(lua_State *L) {
  const task_t *t = scheduler_of(L)->running;
  if (!t || is_aside(t) || !lua_checkstack(L, FAILURE_STACK)) return;
  int top = lua_gettop(L);
  if (lua_getfield(L, LUA_REGISTRYINDEX, ON_FAILURE) == LUA_TFUNCTION) {
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
      log_write(&runtime_of(L)->log, LOG_WARN, "looking at a failure failed itself: %s",
                luaL_tolstring(L, -1, NULL));
  }
  lua_settop(L, top);
}

/* --- breakpoint() ---------------------------------------------------------------------------------------- */

static int breakpoint_end(lua_State *L, int status, lua_KContext ctx) { return 0; }

/* The debugger is Lua, and loaded when it is needed. */
static int breakpoint(lua_State *L) {
  const task_t *t = scheduler_of(L)->running;
  if (!t || is_aside(t)) return 0;
  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "pgaf.debugger");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "breakpoint");
  lua_callk(L, 0, 0, 0, breakpoint_end);
  return breakpoint_end(L, LUA_OK, 0);
}

void beside_register(lua_State *L) { lua_register(L, "breakpoint", breakpoint); }
