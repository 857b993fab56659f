/* group.c - structured concurrency: leaving the block waits for all, the first error cancels the others. */
#include "group.h"

#include <string.h>

#include <lauxlib.h>

#include "async.h"
#include "error.h"
#include "runtime/scheduler.h"

#define GROUP_METATABLE "pgafrun.Group"

/* Values that Lua keeps for a group: its first error (task.c puts it there), and its name. */
enum { GROUP_ERROR = 1, GROUP_NAME, GROUP_VALUES = GROUP_NAME };

static scope_t *check_group(lua_State *L) { return luaL_checkudata(L, 1, GROUP_METATABLE); }

int group_new(lua_State *L) {
  uint64_t relative = TASK_NEVER;
  bool named = false;
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "deadline");
    relative = task_seconds(L, lua_gettop(L), TASK_NEVER);
    named = lua_getfield(L, 1, "name") == LUA_TSTRING;
  }
  task_t *t = task_require(L, "a task group");
  scope_t *s = lua_newuserdatauv(L, sizeof *s, GROUP_VALUES);
  memset(s, 0, sizeof *s);
  luaL_setmetatable(L, GROUP_METATABLE);
  if (named) {
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, GROUP_NAME);
  }
  lua_pushvalue(L, -1);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  scope_open(s, t, relative, false);
  s->anchor = anchor;
  return 1;
}

static scope_t *check_open(lua_State *L) {
  scope_t *s = check_group(L);
  if (!s->open) luaL_error(L, "this task group has been left already");
  return s;
}

static int lgroup_spawn(lua_State *L) {
  scope_t *s = check_open(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  task_spawn(L, s, 1, lua_gettop(L) - 2, NULL);
  return 1;
}

static int lgroup_spawn_named(lua_State *L) {
  scope_t *s = check_open(L);
  const char *name = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  task_spawn(L, s, 1, lua_gettop(L) - 3, name);
  return 1;
}

static int lgroup_cancel(lua_State *L) {
  scope_t *s = check_group(L);
  if (s->open) scope_cancel(s, CANCEL_REQUESTED);
  return 0;
}

/* Of the group at index 1. */
static int push_first_error(lua_State *L, const scope_t *s) {
  if (!s->failed) return 0;
  if (lua_getiuservalue(L, 1, GROUP_ERROR) == LUA_TNIL)
    memory_raise(L, "task.group"); /* there was none to keep the error */
  return 1;
}

/* Tasks that were cancelled from outside the group end quietly; whoever waited for them must hear of it. */
static int raise_outer_interrupt(lua_State *L, task_t *t) {
  wake_cause_t cause = task_pending_interrupt(t);
  if (cause == WAKE_DONE) return 0;
  t->cause = (uint8_t)cause;
  return error_raise_interrupt(L, t, "task.group", false);
}

static int wait_end(lua_State *L, int status, lua_KContext ctx) {
  if (push_first_error(L, check_group(L))) return lua_error(L);
  return raise_outer_interrupt(L, scheduler_of(L)->running);
}

/* Waits firmly: what interrupts this task has reached the group's tasks as well, and they must end first. */
static int lgroup_wait(lua_State *L) {
  scope_t *s = check_open(L);
  task_t *t = task_require(L, "group:wait");
  lua_settop(L, 1);
  if (!s->live) return wait_end(L, LUA_OK, 0);
  return task_suspend_firmly(L, t, &s->waiters, "group:wait", 0, wait_end);
}

/* Is the block left because of this group's own cancellation or deadline, and not by an error of the body's? */
static bool error_is_interrupt(lua_State *L, int index) {
  if (!error_test(L, index)) return false;
  lua_getfield(L, index, "kind");
  lua_getfield(L, index, "code");
  const char *kind = lua_tostring(L, -2), *code = lua_tostring(L, -1);
  bool interrupt = kind && (strcmp(kind, "cancelled") == 0 ||
                            (strcmp(kind, "timeout") == 0 && code && strcmp(code, "deadline") == 0));
  lua_pop(L, 2);
  return interrupt;
}

static int close_end(lua_State *L, int status, lua_KContext ctx) {
  scope_t *s = check_group(L);
  task_t *t = scheduler_of(L)->running;
  while (t->scope != s && t->scope != t->base) { /* scopes opened inside and left open */
    scope_t *inner = t->scope;
    if (inner->live) {
      scope_cancel(inner, CANCEL_REQUESTED);
      return task_suspend_firmly(L, t, &inner->waiters, "the end of a group's tasks", 0, close_end);
    }
    scope_close(L, inner);
  }
  if (s->live) return task_suspend_firmly(L, t, &s->waiters, "the end of a group's tasks", 0, close_end);
  bool cancelled = s->cancel != CANCEL_NONE;
  int failed = push_first_error(L, s);
  scope_close(L, s);
  if (failed && (lua_isnil(L, 2) || error_is_interrupt(L, 2))) return lua_error(L);
  return cancelled && lua_isnil(L, 2) ? raise_outer_interrupt(L, t) : 0;
}

/* __close(group, error): an error of the body's cancels the tasks first. */
static int lgroup_close(lua_State *L) {
  scope_t *s = check_group(L);
  lua_settop(L, 2);
  if (!s->open) return 0;
  if (s->owner != scheduler_of(L)->running)
    return luaL_error(L, "a task group is left by the task that opened it");
  if (!lua_isnil(L, 2)) scope_cancel(s, CANCEL_REQUESTED);
  return close_end(L, LUA_OK, 0);
}

void group_push_name(lua_State *L, const scope_t *s) {
  if (s->anchor == LUA_NOREF) {
    lua_pushnil(L);
    return;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, s->anchor);
  lua_getiuservalue(L, -1, GROUP_NAME);
  lua_remove(L, -2);
}

void group_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"spawn", lgroup_spawn},
                                     {"spawn_named", lgroup_spawn_named},
                                     {"cancel", lgroup_cancel},
                                     {"wait", lgroup_wait},
                                     {NULL, NULL}};
  luaL_newmetatable(L, GROUP_METATABLE);
  lua_pushcfunction(L, lgroup_close);
  lua_setfield(L, -2, "__close");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
