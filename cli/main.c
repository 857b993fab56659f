/* main.c - the program: options, the script, its exit code. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* require "pgafrun.program": what this run was asked to do. */
static void preload_program(lua_State *L, const options_t *o, const paths_t *paths, const char *script) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_createtable(L, 0, 8);
  set_string(L, "version", PGAFRUN_VERSION);
  set_string(L, "script", script);
  set_string(L, "inventory", o->inventory);
  set_string(L, "log_format", o->log.json ? "json" : "text");
  lua_pushinteger(L, o->verbosity);
  lua_setfield(L, -2, "verbosity");
  lua_createtable(L, paths->count, 0);
  for (int i = 0; i < paths->count; i++) {
    lua_pushstring(L, paths->roots[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "roots");
  lua_setfield(L, -2, "pgafrun.program");
  lua_pop(L, 1);
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
  } else if (kind && strcmp(kind, "cancelled") == 0 && scheduler_signalled()) {
    code = 128 + scheduler_signalled();
  }
  lua_pop(L, 2);
  return code;
}

/* What a person reads when a script ends with an error: one sentence, its place, and with -vv the traceback. */
static int report_error(host_t *host, const options_t *o) {
  lua_State *L = host->L;
  bool silent;
  int code = error_exit_code(L, &silent);
  if (silent) return code;
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
  bool tell_place = where && code != EXIT_USAGE && (o->verbosity > 0 || !strstr(where, "/stdlib/pgaf/"));
  if (tell_place && asprintf(&place, "%s\n  at: %s", text, where) < 0) place = NULL;
  log_fields(&host->runtime.log, LOG_ERROR, place ? place : text, NULL, 0);
  free(place);
  if (traceback && o->verbosity >= 2) log_fields(&host->runtime.log, LOG_DEBUG, traceback, NULL, 0);
  return code;
}

static int load(host_t *host, const options_t *o, const char *script) {
  lua_State *L = host->L;
  int status = o->code ? luaL_loadbufferx(L, o->code, strlen(o->code), "=(command line)", "t")
                       : luaL_loadfilex(L, script, "t");
  if (status == LUA_OK) return 0;
  log_fields(&host->runtime.log, LOG_ERROR, lua_tostring(L, -1), NULL, 0);
  return 1;
}

static int run(host_t *host, const options_t *o, const paths_t *paths, const char *script) {
  lua_State *L = host->L;
  preload_program(L, o, paths, script);
  if (load(host, o, script)) return 1;
  luaL_checkstack(L, o->argument_count + 8, NULL);
  for (int i = 0; i < o->argument_count; i++) lua_pushstring(L, o->arguments[i]);
  int nresults = 0;
  if (host_run(host, o->argument_count, o->deadline, &nresults) != LUA_OK) return report_error(host, o);
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

int main(int argc, char **argv) {
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
  code = run(&host, &o, &paths, script);
  fflush(stdout);
  if (host_close(&host) != 0)
    fprintf(stderr, "pgafrun: a handle was left open at exit: please report this\n");
  free(script);
  paths_free(&paths);
  return code;
}
