/* main.c - the program: options, the script, its exit code. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

#include "bindings/error.h"
#include "bindings/register.h"
#include "options.h"
#include "paths.h"
#include "runtime/host.h"
#include "scripts.h"
#include "versions.h"

static void set_string(lua_State *L, const char *name, const char *value) {
  if (!value) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

/* program.expose(name, object) */
static int expose(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 2);
  lua_settable(L, lua_upvalueindex(1));
  return 0;
}

/* program.run_on(): what somebody keeps open has no deadline, unless one was asked for. */
static int run_on(lua_State *L) {
  if (!lua_toboolean(L, lua_upvalueindex(1))) scheduler_of(L)->root.deadline = TASK_NEVER;
  return 0;
}

/* require "pgafrun.program": what this run was asked to do. */
static void preload_program(lua_State *L, const options_t *o, const paths_t *paths, const char *script) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_createtable(L, 0, 12);
  set_string(L, "version", PGAFRUN_VERSION);
  set_string(L, "script", script);
  set_string(L, "inventory", o->inventory);
  set_string(L, "log_format", o->log.json ? "json" : "text");
  lua_pushinteger(L, o->verbosity);
  lua_setfield(L, -2, "verbosity");
  lua_pushboolean(L, o->has_deadline);
  lua_pushcclosure(L, run_on, 1);
  lua_setfield(L, -2, "run_on");
  lua_createtable(L, paths->count, 0);
  for (int i = 0; i < paths->count; i++) {
    lua_pushstring(L, paths->roots[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "roots");
  set_boolean(L, "attachable", o->attachable);
  set_boolean(L, "break_on_failure", o->break_on_failure);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "exposed");
  lua_pushcclosure(L, expose, 1);
  lua_setfield(L, -2, "expose");
  lua_setfield(L, -2, "pgafrun.program");
  lua_pop(L, 1);
}

typedef struct run {
  const options_t *options;
  const paths_t *paths;
  const char *script;
} run_t;

/* Takes the script on top, and leaves what runs it as this was asked for. */
static void launch_observed(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "pgaf.launch");
  lua_call(L, 1, 1);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

/* Pushes the script and its arguments; raises what is wrong with it. Protected: there may be no memory for it. */
static int prepare(lua_State *L) {
  const run_t *r = lua_touserdata(L, 1);
  const options_t *o = r->options;
  preload_program(L, o, r->paths, r->script);
  int status = o->code ? luaL_loadbufferx(L, o->code, strlen(o->code), "=(command line)", "t")
                       : luaL_loadfilex(L, r->script, "t");
  if (status != LUA_OK) return lua_error(L);
  if (o->attachable || o->break_on_failure) launch_observed(L);
  luaL_checkstack(L, o->argument_count + 8, NULL);
  for (int i = 0; i < o->argument_count; i++) lua_pushstring(L, o->arguments[i]);
  return 1 + o->argument_count;
}

/* program.verbosity: -v may stand before the script, and among its own arguments. */
static int verbosity(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "pgafrun.program");
  lua_getfield(L, -1, "verbosity");
  int value = (int)lua_tointeger(L, -1);
  lua_pop(L, 3);
  return value;
}

/* Reads kind (and status of an exit) of the error on top. */
static int error_exit_code(lua_State *L, bool *silent) {
  *silent = false;
  if (!lua_istable(L, -1)) return 1;
  lua_getfield(L, -1, "kind");
  lua_getfield(L, -2, "status");
  const char *kind = lua_tostring(L, -2);
  int code = 1;
  if (kind && strcmp(kind, "exit") == 0) {
    *silent = true;
    code = (int)lua_tointeger(L, -1);
  } else if (kind && (strcmp(kind, "usage") == 0 || strcmp(kind, "inventory") == 0)) {
    code = EXIT_USAGE;
  } else if (kind && strcmp(kind, "cancelled") == 0 && scheduler_of(L)->root.cancel) {
    code = 128 +
           (scheduler_signalled() ? scheduler_signalled() : SIGINT); /* asked to at a prompt: as by Ctrl-C */
  }
  lua_pop(L, 2);
  return code;
}

/* What a person reads when a script ends with an error: one sentence, its place, and with -vv the traceback. */
typedef struct report {
  host_t *host;
  int code;
} report_t;

/* Arguments: the report and the error. Protected: telling it needs memory. */
static int tell_error(lua_State *L) {
  report_t *report = lua_touserdata(L, 1);
  host_t *host = report->host;
  int verbose = verbosity(L);
  bool silent;
  int code = report->code = error_exit_code(L, &silent);
  if (silent) return 0;
  const char *text = luaL_tolstring(L, -1, NULL);
  lua_pushvalue(L, -2);
  const char *where = NULL, *traceback = NULL;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "where");
    where = lua_tostring(L, -1);
    lua_getfield(L, -2, "traceback");
    traceback = lua_tostring(L, -1);
  }
  char *place = NULL;
  /* a place in the library says nothing to who runs a script */
  bool tell_place = where && code != EXIT_USAGE && (verbose > 0 || !strstr(where, "/stdlib/pgaf/"));
  if (tell_place && asprintf(&place, "%s\n  at: %s", text, where) < 0) place = NULL;
  log_fields(&host->runtime.log, LOG_ERROR, place ? place : text, NULL, 0);
  free(place);
  if (traceback && verbose >= 2) {
    host->runtime.log.level = LOG_DEBUG;
    log_fields(&host->runtime.log, LOG_DEBUG, traceback, NULL, 0);
  }
  return 0;
}

static int report_error(host_t *host) {
  lua_State *L = host->L;
  report_t report = {host, 1};
  lua_pushcfunction(L, tell_error);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, &report);
  lua_insert(L, -2);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK)
    log_fields(&host->runtime.log, LOG_ERROR,
               lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error", NULL, 0);
  return report.code;
}

static int run(host_t *host, const run_t *r) {
  lua_State *L = host->L;
  const options_t *o = r->options;
  if (!lua_checkstack(L, o->argument_count + 8)) return 1;
  lua_pushcfunction(L, prepare);
  lua_pushlightuserdata(L, (void *)r);
  if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK) {
    log_fields(&host->runtime.log, LOG_ERROR, lua_tostring(L, -1), NULL, 0);
    return 1;
  }
  int nresults = 0;
  if (host_run(host, o->argument_count, o->deadline, &nresults) != LUA_OK) return report_error(host);
  int code = nresults && lua_isinteger(L, -nresults) ? (int)lua_tointeger(L, -nresults) : 0;
  return code & 0xff;
}

static int help(paths_t *paths) {
  options_print_help();
  scripts_print(paths);
  paths_free(paths);
  return 0;
}

static int no_script(paths_t *paths, const char *name) {
  if (scripts_is_name(name)) {
    scripts_complain(paths, name);
  } else {
    fprintf(stderr, "pgafrun: no script %s, neither here nor among the scripts that come with pgafrun\n",
            name);
  }
  paths_free(paths);
  return EXIT_USAGE;
}

/* A descriptor that is 0, 1 or 2 by chance would be taken for a standard stream: libuv refuses to close it. */
static void open_standard_streams(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) abort();
}

/* What was printed did not arrive, on a full disk for one. A reader that has gone away wants no more of it. */
static bool output_is_lost(void) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return false;
  struct stat status;
  return fstat(STDOUT_FILENO, &status) < 0 || !(S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

int main(int argc, char **argv) {
  open_standard_streams();
  options_t o;
  int code = options_parse(&o, argc, argv);
  if (code) return code;
  if (o.version) {
    versions_print();
    return 0;
  }

  paths_t paths;
  paths_init(&paths);
  if (o.help) return help(&paths);
  char *script = o.script ? paths_script(&paths, o.script) : NULL;
  if (o.script && !script) return no_script(&paths, o.script);
  host_t host;
  const host_options_t options = {.log = o.log,
                                  .lua_path = paths.lua_path,
                                  .open = bindings_register,
                                  .error_handler = error_handler,
                                  .raise_interrupt = error_raise_interrupt};
  int status = host_init(&host, &options);
  if (status < 0) {
    fprintf(stderr, "pgafrun: cannot start: %s\n", uv_strerror(status));
    return 1;
  }
  code = run(&host, &(run_t){&o, &paths, script});
  if (output_is_lost()) {
    fprintf(stderr, "pgafrun: what was printed could not be written (is the disk full?)\n");
    if (!code) code = 1;
  }
  if (host_close(&host) != 0)
    fprintf(stderr, "pgafrun: a handle was left open at exit: please report this\n");
  free(script);
  paths_free(&paths);
  return code;
}
