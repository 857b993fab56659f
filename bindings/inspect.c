/* inspect.c - task.tree and task.handles. All is found out when it is asked for: running tasks records nothing for it. */
#include "inspect.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "async.h"
#include "error.h"
#include "group.h"
#include "runtime/handles.h"
#include "runtime/scheduler.h"
#include "runtime/task_internal.h"

/* --- tasks ----------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b) {
  const task_t *left = *(task_t *const *)a, *right = *(task_t *const *)b;
  return left->id < right->id ? -1 : left->id > right->id;
}

/* Leaves a userdata with the live tasks, oldest first, on the stack. */
static const task_t **push_live(lua_State *L, size_t *count) {
  size_t room = 0, n = 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, scheduler_of(L)->tasks_ref);
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) room++;
  const task_t **list = lua_newuserdatauv(L, (room + 1) * sizeof *list, 0);
  for (lua_pushnil(L); n < room && lua_next(L, table); lua_pop(L, 1)) {
    const task_t *t =
        luaL_testudata(L, -1, TASK_METATABLE); /* luaL_ref keeps its free list in the same table */
    if (t) list[n++] = t;
  }
  lua_settop(L, table + 1);
  lua_remove(L, table);
  qsort(list, n, sizeof *list, by_id);
  *count = n;
  return list;
}

static void set_seconds(lua_State *L, const char *name, uint64_t nanoseconds) {
  lua_pushnumber(L, (double)nanoseconds / 1e9);
  lua_setfield(L, -2, name);
}

static void set_wait(lua_State *L, const task_t *t) {
  if (t->state != TASK_WAITING) return;
  lua_pushstring(L, t->waiting_for);
  lua_setfield(L, -2, "waiting_for");
  set_seconds(L, "since", t->since);
}

/* The task's node, on top of the stack. */
static void fill_node(lua_State *L, const task_t *t, uint64_t now) {
  const scheduler_t *s = t->scheduler;
  lua_pushinteger(L, t->id);
  lua_setfield(L, -2, "id");
  if (t->name) {
    lua_pushstring(L, t->name);
  } else {
    lua_pushfstring(L, "task %d", (int)t->id);
  }
  lua_setfield(L, -2, "name");
  group_push_name(L, t->base);
  lua_setfield(L, -2, "group");
  /* one that stands still in the middle of a call runs for Lua, but not for people */
  bool standing = t->state == TASK_RUNNING && t != s->running;
  lua_pushstring(L, standing ? "stopped" : task_state_name(t));
  lua_setfield(L, -2, "status");
  set_wait(L, t);
  error_push_where(L, t->co, 0);
  lua_setfield(L, -2, "where");
  if (t->scope->deadline != TASK_NEVER)
    set_seconds(L, "deadline", t->scope->deadline > now ? t->scope->deadline - now : 0);
  if (t->cancel || t->scope->cancel) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "cancelled");
  }
  if (t->base == &s->services) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "service");
  }
  lua_newtable(L);
  lua_setfield(L, -2, "children");
}

/* Appends the node on top to the list on top but one. */
static void append(lua_State *L) { lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1); }

int inspect_tree(lua_State *L) {
  enum { RESULT = 1, NODES = 2 };
  size_t count;
  uint64_t now = uv_hrtime();
  lua_settop(L, 0);
  lua_newtable(L); /* the tree's top */
  lua_newtable(L); /* id -> node */
  luaL_checkstack(L, 12, NULL);
  const task_t **tasks = push_live(L, &count);
  for (size_t i = 0; i < count; i++) { /* a task is younger than the one that spawned it */
    const task_t *t = tasks[i], *parent = t->base->owner;
    lua_newtable(L);
    fill_node(L, t, now);
    lua_pushvalue(L, -1);
    lua_rawseti(L, NODES, t->id);
    bool below = parent && lua_rawgeti(L, NODES, parent->id) == LUA_TTABLE;
    if (parent && !below) lua_pop(L, 1);
    if (below) {
      lua_getfield(L, -1, "children");
      lua_remove(L, -2);
    } else {
      lua_pushvalue(L, RESULT);
    }
    lua_insert(L, -2);
    append(L);
    lua_pop(L, 1);
  }
  lua_settop(L, RESULT);
  return 1;
}

/* --- handles --------------------------------------------------------------------------------------------- */

typedef struct listing {
  lua_State *L;
  const scheduler_t *scheduler;
  size_t count, room;
  handle_info_t *infos; /* in a userdata; NULL while counting */
} listing_t;

static void count_or_keep(const handle_info_t *info, void *data) {
  listing_t *l = data;
  if (l->infos && l->count < l->room) l->infos[l->count] = *info;
  l->count++;
}

static const char *own_handle(const scheduler_t *s, const uv_handle_t *handle) {
  if (handle == (const uv_handle_t *)&s->timer) return "all sleeping tasks and deadlines";
  if (handle == (const uv_handle_t *)&s->signal) return "SIGINT, SIGTERM and SIGHUP";
  return NULL;
}

static void push_handle(lua_State *L, const handle_info_t *info, const char *owner) {
  lua_createtable(L, 0, 6);
  lua_pushstring(L, info->type);
  lua_setfield(L, -2, "type");
  if (owner && *info->about) {
    lua_pushfstring(L, "%s, %s", owner, info->about);
  } else {
    lua_pushstring(L, owner ? owner : info->about);
  }
  lua_setfield(L, -2, "about");
  lua_pushboolean(L, info->active);
  lua_setfield(L, -2, "active");
  lua_pushboolean(L, info->referenced);
  lua_setfield(L, -2, "referenced");
  lua_pushboolean(L, info->closing);
  lua_setfield(L, -2, "closing");
}

/* Lua may raise, and must not through libuv's walk: what is found is kept first. */
int inspect_handles(lua_State *L) {
  uv_loop_t *loop = &runtime_of(L)->loop;
  listing_t l = {.L = L, .scheduler = scheduler_of(L)};
  handles_visit(loop, count_or_keep, &l);
  l.room = l.count;
  l.count = 0;
  l.infos = lua_newuserdatauv(L, (l.room + 1) * sizeof *l.infos, 0);
  handles_visit(loop, count_or_keep, &l);
  size_t n = l.count < l.room ? l.count : l.room;
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    push_handle(L, &l.infos[i], own_handle(l.scheduler, l.infos[i].handle));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}
