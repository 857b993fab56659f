/* fs.c - files; docs/meta/fs.lua has the interface. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "modules.h"
#include "runtime/fs.h"

#define LOCK_METATABLE "pgafrun.fs.Lock"
#define MEMORY_METATABLE "pgafrun.fs.MemoryFile"

enum { MODE_MAX = 07777 };

static uv_loop_t *loop_of(lua_State *L) { return &runtime_of(L)->loop; }

/* A worker's errand has no time limit but the task's own. */
static int wait_for(lua_State *L, async_t *a, op_t *op, async_finish_t finish) {
  return async_wait(L, a, operation_made(L, op), 0, finish);
}

static int finish_nothing(lua_State *L, op_t *op) { return 0; }

static int finish_data(lua_State *L, op_t *op) {
  const fs_result_t *r = fs_result(op);
  lua_pushlstring(L, r->data ? r->data : "", r->size);
  return 1;
}

static int lfs_read(lua_State *L) {
  static const char *const names[] = {"max_bytes", NULL};
  const char *path = argument_name(L, 1);
  arguments_check(L, 2, true, false, names);
  size_t max = (size_t)arguments_integer(L, 2, "max_bytes", 64 << 20, 0, LUA_MAXINTEGER / 4);
  async_t *a = async_begin(L, "fs.read");
  return wait_for(L, a, fs_read(loop_of(L), path, max), finish_data);
}

static int lfs_write(lua_State *L) {
  static const char *const names[] = {"mode", "sync", NULL};
  const char *path = argument_name(L, 1);
  size_t size;
  const char *data = luaL_checklstring(L, 2, &size);
  arguments_check(L, 3, true, false, names);
  mode_t mode = (mode_t)arguments_integer(L, 3, "mode", 0600, 0, MODE_MAX);
  bool sync = arguments_boolean(L, 3, "sync", true);
  async_t *a = async_begin(L, "fs.write");
  return wait_for(L, a, fs_write(loop_of(L), path, data, size, mode, sync), finish_nothing);
}

static int lfs_append(lua_State *L) {
  static const char *const names[] = {"sync", NULL};
  const char *path = argument_name(L, 1);
  size_t size;
  const char *data = luaL_checklstring(L, 2, &size);
  arguments_check(L, 3, true, false, names);
  bool sync = arguments_boolean(L, 3, "sync", true);
  async_t *a = async_begin(L, "fs.append");
  return wait_for(L, a, fs_append(loop_of(L), path, data, size, sync), finish_nothing);
}

static const char *type_name(mode_t mode) {
  switch (mode & S_IFMT) {
  case S_IFREG: return "file";
  case S_IFDIR: return "directory";
  case S_IFLNK: return "link";
  case S_IFSOCK: return "socket";
  case S_IFIFO: return "fifo";
  default: return "other";
  }
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static int finish_stat(lua_State *L, op_t *op) {
  const fs_result_t *r = fs_result(op);
  if (!r->exists) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 6);
  lua_pushstring(L, type_name(r->stat.mode));
  lua_setfield(L, -2, "type");
  set_integer(L, "size", (lua_Integer)r->stat.size);
  set_integer(L, "mode", r->stat.mode & MODE_MAX);
  set_integer(L, "uid", r->stat.uid);
  set_integer(L, "gid", r->stat.gid);
  lua_pushnumber(L, r->stat.mtime);
  lua_setfield(L, -2, "mtime");
  return 1;
}

static int lfs_stat(lua_State *L) {
  const char *path = argument_name(L, 1);
  async_t *a = async_begin(L, "fs.stat");
  return wait_for(L, a, fs_stat(loop_of(L), path), finish_stat);
}

static int finish_list(lua_State *L, op_t *op) {
  const fs_result_t *r = fs_result(op);
  lua_createtable(L, (int)r->count, 0);
  for (size_t i = 0; i < r->count; i++) {
    lua_pushstring(L, r->names[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int lfs_list(lua_State *L) {
  const char *path = argument_name(L, 1);
  async_t *a = async_begin(L, "fs.list");
  return wait_for(L, a, fs_list(loop_of(L), path), finish_list);
}

static mode_t check_mode(lua_State *L, int index, lua_Integer mode) {
  luaL_argcheck(L, mode >= 0 && mode <= MODE_MAX, index, "not a file mode");
  return (mode_t)mode;
}

static int lfs_mkdir(lua_State *L) {
  const char *path = argument_name(L, 1);
  mode_t mode = check_mode(L, 2, luaL_optinteger(L, 2, 0700));
  async_t *a = async_begin(L, "fs.mkdir");
  return wait_for(L, a, fs_mkdir(loop_of(L), path, mode), finish_nothing);
}

static int lfs_remove(lua_State *L) {
  const char *path = argument_name(L, 1);
  async_t *a = async_begin(L, "fs.remove");
  return wait_for(L, a, fs_remove(loop_of(L), path), finish_nothing);
}

static int lfs_remove_tree(lua_State *L) {
  const char *path = argument_name(L, 1);
  luaL_argcheck(L, path[strspn(path, "/")] != '\0', 1, "the root directory is not removed");
  async_t *a = async_begin(L, "fs.remove_tree");
  return wait_for(L, a, fs_remove_tree(loop_of(L), path), finish_nothing);
}

static int lfs_rename(lua_State *L) {
  const char *from = argument_name(L, 1), *to = argument_name(L, 2);
  async_t *a = async_begin(L, "fs.rename");
  return wait_for(L, a, fs_rename(loop_of(L), from, to), finish_nothing);
}

static int lfs_chmod(lua_State *L) {
  const char *path = argument_name(L, 1);
  mode_t mode = check_mode(L, 2, luaL_checkinteger(L, 2));
  async_t *a = async_begin(L, "fs.chmod");
  return wait_for(L, a, fs_chmod(loop_of(L), path, mode), finish_nothing);
}

static int lfs_realpath(lua_State *L) {
  const char *path = argument_name(L, 1);
  async_t *a = async_begin(L, "fs.realpath");
  return wait_for(L, a, fs_realpath(loop_of(L), path), finish_data);
}

static int lfs_mkdtemp(lua_State *L) {
  const char *prefix = argument_text(L, 1);
  luaL_argcheck(L, !strchr(prefix, '/'), 1, "a prefix has no slash");
  const char *base = getenv("TMPDIR");
  const char *path = lua_pushfstring(L, "%s/%s", base && *base ? base : "/tmp", prefix);
  async_t *a = async_begin(L, "fs.mkdtemp");
  return wait_for(L, a, fs_mkdtemp(loop_of(L), path), finish_data);
}

static int finish_lock(lua_State *L, op_t *op) {
  const fs_result_t *r = fs_result(op);
  if (r->fd < 0) {
    lua_pushnil(L);
    lua_pushlstring(L, r->data, r->size);
    return 2;
  }
  int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
  *fd = fs_take_lock(op);
  luaL_setmetatable(L, LOCK_METATABLE);
  return 1;
}

static int lfs_lock(lua_State *L) {
  const char *path = argument_name(L, 1);
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  async_t *a = async_begin(L, "fs.lock");
  return wait_for(L, a, fs_lock(loop_of(L), path, text, size), finish_lock);
}

/* Lock:close, __close and __gc. */
static int llock_close(lua_State *L) {
  int *fd = luaL_checkudata(L, 1, LOCK_METATABLE);
  if (*fd >= 0) fs_unlock(*fd);
  *fd = -1;
  return 0;
}

/* --- in memory ------------------------------------------------------------------------------------------- */

static int lfs_in_memory(lua_State *L) {
  size_t size;
  failure_t f = {0};
  const char *data = luaL_checklstring(L, 1, &size);
  int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
  *fd = -1;
  luaL_setmetatable(L, MEMORY_METATABLE);
  *fd = fs_in_memory(data, size, &f);
  return *fd < 0 ? failure_raise(L, &f, "fs.in_memory") : 1;
}

/* MemoryFile:close, __close and __gc. */
static int lmemory_close(lua_State *L) {
  int *fd = luaL_checkudata(L, 1, MEMORY_METATABLE);
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return 0;
}

static int lmemory_path(lua_State *L) {
  const int *fd = luaL_checkudata(L, 1, MEMORY_METATABLE);
  luaL_argcheck(L, *fd >= 0, 1, "the file was closed");
  lua_pushfstring(L, "/proc/self/fd/%d", *fd);
  return 1;
}

static void make_memory_metatable(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", lmemory_close}, {"__close", lmemory_close}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"close", lmemory_close}, {"path", lmemory_path}, {NULL, NULL}};
  luaL_newmetatable(L, MEMORY_METATABLE);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

static void make_lock_metatable(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", llock_close}, {"__close", llock_close}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"close", llock_close}, {NULL, NULL}};
  luaL_newmetatable(L, LOCK_METATABLE);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

int luaopen_pgafrun_fs(lua_State *L) {
  static const luaL_Reg functions[] = {{"read", lfs_read},
                                       {"write", lfs_write},
                                       {"append", lfs_append},
                                       {"stat", lfs_stat},
                                       {"list", lfs_list},
                                       {"mkdir", lfs_mkdir},
                                       {"remove", lfs_remove},
                                       {"remove_tree", lfs_remove_tree},
                                       {"rename", lfs_rename},
                                       {"chmod", lfs_chmod},
                                       {"realpath", lfs_realpath},
                                       {"mkdtemp", lfs_mkdtemp},
                                       {"lock", lfs_lock},
                                       {"in_memory", lfs_in_memory},
                                       {NULL, NULL}};
  make_memory_metatable(L);
  make_lock_metatable(L);
  luaL_newlib(L, functions);
  return 1;
}
