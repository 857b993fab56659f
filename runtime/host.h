/* host.h - the Lua state and its loop: what a script runs in.
 *
 * The host opens Lua's libraries, takes out what would block the loop or leave it behind (os.execute, io.popen), makes
 * os.exit unwind instead of end, and makes _G strict: an undefined name is an error with its place. */
#ifndef PGAFRUN_HOST_H
#define PGAFRUN_HOST_H

#include <lua.h>

#include "runtime.h"
#include "scheduler.h"

typedef struct host {
  runtime_t runtime;
  scheduler_t scheduler;
  lua_State *L;
} host_t;

typedef struct host_options {
  log_t log;
  lua_Alloc allocate;          /* NULL: the C library's */
  void *allocator;             /* its first argument */
  const char *lua_path;        /* package.path */
  void (*open)(lua_State *L);  /* registers the C modules */
  lua_CFunction error_handler; /* see scheduler_open */
  int (*raise_interrupt)(lua_State *L, const task_t *t, const char *operation, bool outcome_unknown);
} host_options_t;

/* 0 or a negative uv error; then nothing is left to be closed. */
int host_init(host_t *host, const host_options_t *options);

/* Runs the function below nargs arguments on the state's top as the root task, with SIGINT and SIGTERM cancelling it.
 * seconds: its deadline, 0 for none. LUA_OK: results on top, *nresults of them (one, when memory does not suffice for
 * more). Otherwise the error value is on top. */
int host_run(host_t *host, int nargs, double seconds, int *nresults);

/* Closes the Lua state and the loop. 0, or UV_EBUSY when a handle was left open: a bug that tests look for. */
int host_close(host_t *host);

#endif
