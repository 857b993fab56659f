/* process.c - run, daemon, kill, and who is who; docs/meta/process.lua has the interface. */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "modules.h"
#include "runtime/child.h"
#include "runtime/process.h"

#define CHILD_METATABLE "pgafrun.process.Child"

enum {
  INPUT_MAX = 1 << 30, /* libuv counts a write in an unsigned int */
  UMASK_MAX = 0777
};

/* --- arguments ------------------------------------------------------------------------------------------- */

/* Pushes a userdata with room for count texts and a closing NULL. The texts themselves are kept by Lua elsewhere. */
static char **push_list(lua_State *L, size_t count) {
  char **list = lua_newuserdatauv(L, (count + 1) * sizeof *list, 0);
  memset(list, 0, (count + 1) * sizeof *list);
  return list;
}

/* Leaves the list on the stack; the table at index keeps the texts. */
static char **push_argv(lua_State *L, int index) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  luaL_argcheck(L, n > 0, index, "no program: [1] is missing");
  char **argv = push_list(L, (size_t)n);
  for (lua_Integer i = 1; i <= n; i++) {
    bool ok = lua_rawgeti(L, index, i) == LUA_TSTRING && strlen(lua_tostring(L, -1)) == lua_rawlen(L, -1);
    if (!ok)
      luaL_argerror(L, index, lua_pushfstring(L, "[%I] must be a string without zero bytes", (LUAI_UACINT)i));
    argv[i - 1] = (char *)lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  luaL_argcheck(L, *argv[0], index, "an empty program name");
  return argv;
}

/* Adds "NAME=value" for each pair of the table on top, under NAME in the table at into. Pops it. */
static void merge_environment(lua_State *L, int index, const char *option, int into) {
  luaL_argcheck(L, lua_istable(L, -1), index, lua_pushfstring(L, "option '%s' must be a table", option));
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    bool ok = lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING;
    const char *name = ok ? lua_tostring(L, -2) : "", *value = ok ? lua_tostring(L, -1) : "";
    ok = ok && *name && !strchr(name, '=') && strlen(name) == lua_rawlen(L, -2) &&
         strlen(value) == lua_rawlen(L, -1);
    if (!ok) luaL_argerror(L, index, lua_pushfstring(L, "option '%s' must map names to strings", option));
    lua_pushfstring(L, "%s=%s", name, value);
    lua_remove(L, -2);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_settable(L, into);
  }
  lua_pop(L, 1);
}

static void inherit_environment(lua_State *L, int into) {
  for (char **e = environ; *e; e++) {
    const char *equals = strchr(*e, '=');
    if (!equals) continue;
    lua_pushlstring(L, *e, (size_t)(equals - *e));
    lua_pushstring(L, *e);
    lua_settable(L, into);
  }
}

/* NULL when the child inherits ours as it is; else leaves two values on the stack that keep the texts. */
static char **push_environment(lua_State *L, int index) {
  bool replaces = lua_getfield(L, index, "env") != LUA_TNIL;
  bool extends = lua_getfield(L, index, "extend_env") != LUA_TNIL;
  luaL_argcheck(L, !(replaces && extends), index, "either env or extend_env");
  if (!replaces && !extends) return NULL;
  lua_newtable(L);
  int into = lua_gettop(L);
  if (extends) inherit_environment(L, into);
  lua_pushvalue(L, replaces ? into - 2 : into - 1);
  merge_environment(L, index, replaces ? "env" : "extend_env", into);
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, into); lua_pop(L, 1)) count++;
  char **env = push_list(L, count);
  lua_pushnil(L);
  for (size_t i = 0; lua_next(L, into); i++) {
    env[i] = (char *)lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return env;
}

/* What it leaves on the stack keeps the texts alive. */
static spawn_options_t push_spawn_options(lua_State *L, int index) {
  spawn_options_t o;
  stack_reserve(L, 16, NULL);
  o.argv = push_argv(L, index);
  o.env = push_environment(L, index);
  o.cwd = arguments_text(L, index, "cwd");
  o.umask = (int)arguments_integer(L, index, "umask", -1, 0, UMASK_MAX);
  return o;
}

/* --- run ------------------------------------------------------------------------------------------------- */

static void set_status(lua_State *L, int code, int signal) {
  lua_pushinteger(L, signal ? signal : code);
  lua_setfield(L, -2, signal ? "signal" : "code");
}

static int lprocess_run_finish(lua_State *L, op_t *op) {
  process_result_t r = process_result(op);
  lua_createtable(L, 0, 4);
  set_status(L, r.code, r.signal);
  lua_pushlstring(L, r.out, r.out_size);
  lua_setfield(L, -2, "stdout");
  lua_pushlstring(L, r.err, r.err_size);
  lua_setfield(L, -2, "stderr");
  lua_pushnumber(L, r.seconds);
  lua_setfield(L, -2, "seconds");
  return 1;
}

/* With stdin's text, or nil, at index 2. A continuation, because the function that gave the text may have waited. */
static int lprocess_run_with_input(lua_State *L, int status, lua_KContext context) {
  process_options_t o = {.spawn = push_spawn_options(L, 1)};
  double timeout = arguments_number(L, 1, "timeout", 60, 0.001, 1e8);
  o.max_bytes = (size_t)arguments_integer(L, 1, "max_bytes", 64 << 20, 0, LUA_MAXINTEGER / 4);
  if (!lua_isnil(L, 2)) {
    luaL_argcheck(L, lua_type(L, 2) == LUA_TSTRING, 1,
                  "option 'stdin' must be a string, or a function that returns one");
    o.input = lua_tolstring(L, 2, &o.input_size);
    luaL_argcheck(L, o.input_size <= INPUT_MAX, 1, "option 'stdin' is longer than 1 GiB");
  }
  lua_rawgeti(L, 1, 1); /* stays, for the message */
  const char *program = lua_tostring(L, -1);
  async_t *a = async_begin(L, "process.run");
  async_about(a, program);
  op_t *op = operation_made(L, process_run(&runtime_of(L)->loop, &o));
  return async_wait(L, a, op, timeout, lprocess_run_finish);
}

static int lprocess_run(lua_State *L) {
  static const char *const names[] = {"env",       "extend_env", "cwd",   "stdin",
                                      "max_bytes", "timeout",    "umask", NULL};
  lua_settop(L, 1);
  arguments_check(L, 1, false, true, names);
  if (lua_getfield(L, 1, "stdin") == LUA_TFUNCTION) lua_callk(L, 0, 1, 0, lprocess_run_with_input);
  return lprocess_run_with_input(L, LUA_OK, 0);
}

/* --- daemon ---------------------------------------------------------------------------------------------- */

/* Children that were started and whose end is not known stay here, or the collector would let go of them while they run
 * and nobody would reap them. Swept at the start of the next one. */
static void push_children(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, "pgafrun.process.children");
}

static child_t *check_child(lua_State *L) {
  child_t **child = luaL_checkudata(L, 1, CHILD_METATABLE);
  if (!*child) luaL_argerror(L, 1, "the child was let go of");
  return *child;
}

static void sweep_children(lua_State *L) {
  push_children(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    child_t **child = lua_touserdata(L, -1);
    if (*child && !child_has_exited(*child)) continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
}

static int lprocess_daemon(lua_State *L) {
  static const char *const names[] = {"env", "extend_env", "cwd", "output", "umask", NULL};
  lua_settop(L, 1);
  arguments_check(L, 1, false, true, names);
  spawn_options_t o = push_spawn_options(L, 1);
  const char *output = arguments_text(L, 1, "output");
  luaL_argcheck(L, output && *output, 1, "option 'output' is missing: the file for what the program prints");
  sweep_children(L);
  child_t **child = lua_newuserdatauv(L, sizeof *child, 0);
  *child = NULL;
  push_children(L);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, true);
  lua_rawset(L, -3); /* before the start: it may raise */
  failure_t f = {0};
  *child = child_start(&runtime_of(L)->loop, &o, output, &f);
  if (!*child) {
    lua_pushvalue(L, -2);
    lua_pushnil(L);
    lua_rawset(L, -3);
    return failure_raise(L, &f, "process.daemon");
  }
  lua_pop(L, 1);
  luaL_setmetatable(L, CHILD_METATABLE);
  return 1;
}

static int lchild_wait_finish(lua_State *L, op_t *op) {
  child_status_t status = child_status(op);
  lua_createtable(L, 0, 1);
  set_status(L, status.code, status.signal);
  return 1;
}

static int lchild_wait(lua_State *L) {
  child_t *child = check_child(L);
  double seconds = luaL_optnumber(L, 2, -1);
  luaL_argcheck(L, lua_isnoneornil(L, 2) || seconds >= 0, 2, "a time in seconds, not negative");
  async_t *a = async_begin(L, "process.wait");
  if (seconds == 0 && !child_has_exited(child)) return 0;
  return async_wait_or_nil(L, a, operation_made(L, child_wait(child)), seconds, lchild_wait_finish);
}

static int lchild_index(lua_State *L) {
  child_t *child = check_child(L);
  const char *name = luaL_checkstring(L, 2);
  if (strcmp(name, "pid") == 0) {
    lua_pushinteger(L, child_pid(child));
  } else {
    luaL_getmetafield(L, 1, "methods");
    lua_getfield(L, -1, name);
  }
  return 1;
}

static int lchild_tostring(lua_State *L) {
  lua_pushfstring(L, "process.Child (pid %d)", child_pid(check_child(L)));
  return 1;
}

/* Only when the program is known to have ended, or Lua ends: it is in the registry until then. */
static int lchild_gc(lua_State *L) {
  child_t **child = lua_touserdata(L, 1);
  if (*child) child_release(*child);
  *child = NULL;
  return 0;
}

static void make_child_metatable(lua_State *L) {
  static const luaL_Reg meta[] = {
      {"__gc", lchild_gc}, {"__index", lchild_index}, {"__tostring", lchild_tostring}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"wait", lchild_wait}, {NULL, NULL}};
  luaL_newmetatable(L, CHILD_METATABLE);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "methods");
  lua_pop(L, 1);
}

/* --- signals and identity -------------------------------------------------------------------------------- */

static int signal_number(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TNUMBER) {
    lua_Integer n = luaL_checkinteger(L, index);
    luaL_argcheck(L, n >= 0 && n < NSIG, index, "no such signal");
    return (int)n;
  }
  const char *name = luaL_checkstring(L, index);
  static const struct {
    const char *name;
    int number;
  } signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ABRT", SIGABRT},
                 {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM},
                 {"STOP", SIGSTOP}, {"CONT", SIGCONT}};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    if (strcmp(name, signals[i].name) == 0) return signals[i].number;
  }
  return luaL_argerror(L, index,
                       "no such signal: a number, or HUP INT QUIT ABRT KILL USR1 USR2 TERM STOP CONT");
}

static int lprocess_kill(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  int signal = signal_number(L, 2);
  luaL_argcheck(L, pid > 0 || pid < -1, 1, "0 and -1 mean our own group and everybody");
  luaL_argcheck(L, pid == (pid_t)pid, 1, "not a pid");
  if (kill((pid_t)pid, signal) == 0) {
    lua_pushboolean(L, true);
    return 1;
  }
  char name[32];
  lua_pushboolean(L, false);
  lua_pushstring(L, uv_err_name_r(uv_translate_sys_error(errno), name, sizeof name));
  return 2;
}

/* Reads a small file below /proc, which never waits. Returns its length, -1 when it cannot be read. */
static long read_proc(const char *path, char *to, size_t size) {
  FILE *f = fopen(path, "re");
  if (!f) return -1;
  size_t n = fread(to, 1, size - 1, f);
  to[n] = '\0';
  bool failed = ferror(f);
  fclose(f);
  return failed ? -1 : (long)n;
}

/* Pushes the start time, or nil. */
static void push_start_time(lua_State *L, lua_Integer pid) {
  enum {
    AFTER_NAME = 22 - 2
  }; /* starttime is field 22 (proc(5)), the name is field 2 and may contain anything */
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  char *p = read_proc(path, line, sizeof line) > 0 ? strrchr(line, ')') : NULL;
  for (int i = 0; p && i < AFTER_NAME; i++) {
    p = strchr(p, ' ');
    if (p) p++;
  }
  if (p) {
    lua_pushlstring(L, p, strcspn(p, " \n"));
  } else {
    lua_pushnil(L);
  }
}

static int lprocess_start_time(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  luaL_argcheck(L, pid > 0, 1, "not a pid");
  push_start_time(L, pid);
  return 1;
}

static void push_user(lua_State *L) {
  char buffer[4096];
  struct passwd entry, *found = NULL;
  if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found) {
    lua_pushstring(L, found->pw_name);
  } else { /* a container may have no entry for it */
    lua_pushfstring(L, "%d", (int)geteuid());
  }
}

static int lprocess_self(lua_State *L) {
  char text[256] = "";
  lua_createtable(L, 0, 6);
  lua_pushinteger(L, getpid());
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, geteuid());
  lua_setfield(L, -2, "uid");
  push_user(L);
  lua_setfield(L, -2, "user");
  gethostname(text, sizeof text - 1);
  lua_pushstring(L, text);
  lua_setfield(L, -2, "host");
  if (read_proc("/proc/sys/kernel/random/boot_id", text, sizeof text) < 0) *text = '\0';
  lua_pushlstring(L, text, strcspn(text, "\n"));
  lua_setfield(L, -2, "boot_id");
  push_start_time(L, getpid());
  lua_setfield(L, -2, "start_time");
  return 1;
}

static int lprocess_getenv(lua_State *L) {
  lua_pushstring(L, getenv(argument_text(L, 1)));
  return 1;
}

int luaopen_pgafrun_process(lua_State *L) {
  static const luaL_Reg functions[] = {{"run", lprocess_run},
                                       {"daemon", lprocess_daemon},
                                       {"kill", lprocess_kill},
                                       {"self", lprocess_self},
                                       {"start_time", lprocess_start_time},
                                       {"getenv", lprocess_getenv},
                                       {NULL, NULL}};
  make_child_metatable(L);
  luaL_newlib(L, functions);
  return 1;
}
