#include "host.h"

#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "http.h"

/* --- what scripts may not do ---------------------------------------------------------------------------- */

static int blocks_the_loop(lua_State *L) {
  return luaL_error(L, "%s would block every other task: use pgafrun.process",
                    lua_tostring(L, lua_upvalueindex(1)));
}

static void forbid(lua_State *L, const char *library, const char *name) {
  lua_getglobal(L, library);
  lua_pushfstring(L, "%s.%s", library, name);
  lua_pushcclosure(L, blocks_the_loop, 1);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

/* os.exit([code]) unwinds like an error, so that groups end and things are put back. */
static int exit_by_unwinding(lua_State *L) {
  int code = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
  lua_createtable(L, 0, 3);
  lua_pushliteral(L, "exit");
  lua_setfield(L, -2, "kind");
  lua_pushinteger(L, code);
  lua_setfield(L, -2, "status");
  lua_pushliteral(L, "the script asked to exit");
  lua_setfield(L, -2, "message");
  return lua_error(L);
}

/* Coroutines of the script's own get the spin watch, which otherwise reaches only the task's. */
static int watched_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  scheduler_watch(co);
  return 1;
}

static int watched_wrap(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  lua_getupvalue(L, -1, 1);
  if (lua_isthread(L, -1)) scheduler_watch(lua_tothread(L, -1));
  lua_pop(L, 1);
  return 1;
}

static int undefined_global(lua_State *L) {
  return luaL_error(L, "undefined global '%s': a misspelt name, or a missing `local` or `require`",
                    luaL_tolstring(L, 2, NULL));
}

static int assigned_global(lua_State *L) {
  return luaL_error(L, "assignment to global '%s': declare it with `local`", luaL_tolstring(L, 2, NULL));
}

static void restrict_libraries(lua_State *L) {
  forbid(L, "os", "execute");
  forbid(L, "io", "popen");
  lua_getglobal(L, "os");
  lua_pushcfunction(L, exit_by_unwinding);
  lua_setfield(L, -2, "exit");
  lua_getglobal(L, "coroutine");
  lua_pushcfunction(L, watched_create);
  lua_setfield(L, -2, "create");
  lua_getfield(L, -1, "wrap");
  lua_pushcclosure(L, watched_wrap, 1);
  lua_setfield(L, -2, "wrap");
  lua_pop(L, 2);

  lua_pushglobaltable(L);
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, undefined_global);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, assigned_global);
  lua_setfield(L, -2, "__newindex");
  lua_pushliteral(L, "strict");
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

/* --- life ----------------------------------------------------------------------------------------------- */

static int host_open_lua(lua_State *L) {
  const host_options_t *options = lua_touserdata(L, 1);
  lua_pushcfunction(L, options->error_handler);
  scheduler_open((*(runtime_t **)lua_getextraspace(L))->scheduler, L);
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_pushstring(L, options->lua_path);
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, ""); /* C modules come with the program, never from where it happens to run */
  lua_setfield(L, -2, "cpath");
  options->open(L);
  restrict_libraries(L);
  return 0;
}

static int open_lua(host_t *host, const host_options_t *options) {
  lua_State *L = host->L =
      options->allocate ? lua_newstate(options->allocate, options->allocator) : luaL_newstate();
  if (!L) return UV_ENOMEM;
  *(runtime_t **)lua_getextraspace(L) = &host->runtime;
  host->scheduler.raise_interrupt = options->raise_interrupt;
  lua_pushcfunction(L, host_open_lua);
  lua_pushlightuserdata(L, (void *)options);
  return lua_pcall(L, 1, 0, 0) == LUA_OK ? 0 : UV_ENOMEM;
}

int host_init(host_t *host, const host_options_t *options) {
  memset(host, 0, sizeof *host);
  host->runtime.log = options->log;
  host->runtime.scheduler = &host->scheduler;
  int status = uv_loop_init(&host->runtime.loop);
  if (status < 0) return status;
  status = scheduler_init(&host->scheduler, &host->runtime.loop);
  if (status == 0) status = open_lua(host, options);
  if (status < 0) host_close(host);
  return status;
}

static host_t *signalled_host;

static void on_signal(int signo) {
  if (signalled_host) scheduler_signal(&signalled_host->scheduler, signo);
}

static void catch_signals(host_t *host) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  signalled_host = host;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGHUP, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
}

/* Arguments: the function, and its own. Returns the root task's userdata. Protected: there may be no memory for it. */
static int spawn_root(lua_State *L) {
  task_spawn(L, &scheduler_of(L)->root, 0, lua_gettop(L) - 1, "main");
  return 1;
}

static int push_deadlock(lua_State *L) {
  lua_pushliteral(L, "every task waits for another one: nothing can go on");
  return 1;
}

enum {
  SERVICES_NS = 2000000000
}; /* how long what was only beside the script may keep the program from ending */

int host_run(host_t *host, int nargs, double seconds, int *nresults) {
  lua_State *L = host->L;
  scheduler_t *s = &host->scheduler;
  catch_signals(host);
  if (seconds > 0) s->root.deadline = uv_hrtime() + (uint64_t)(seconds * 1e9);
  lua_pushcfunction(L, spawn_root);
  lua_insert(L, -nargs - 2);
  int status = lua_pcall(L, nargs + 1, 1, 0);
  if (status != LUA_OK) {
    signalled_host = NULL;
    return status;
  }
  task_t *root = lua_touserdata(L, -1);
  bool ended = scheduler_run(s, root);
  scheduler_end_services(s, SERVICES_NS);
  signalled_host = NULL;
  if (!ended) {
    lua_pushcfunction(L, push_deadlock);
    lua_pcall(L, 0, 1, 0);
    return LUA_ERRRUN;
  }
  int n = root->state == TASK_DONE ? lua_gettop(root->co) : 1;
  if (!lua_checkstack(L, n)) {
    n = 1;
    lua_settop(root->co, 1);
  }
  lua_xmove(root->co, L, n);
  *nresults = n;
  return root->state == TASK_DONE ? LUA_OK : LUA_ERRRUN;
}

int host_close(host_t *host) {
  uv_loop_t *loop = &host->runtime.loop;
  if (host->L) {
    lua_gc(host->L, LUA_GCCOLLECT);
    lua_close(host->L);
  }
  http_free(&host->runtime);
  scheduler_stop(&host->scheduler);
  uv_run(loop, UV_RUN_DEFAULT);
  scheduler_free(&host->scheduler);
  return uv_loop_close(loop);
}
