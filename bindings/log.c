/* log.c - log.info(message, fields) and its sisters. */
#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "mask.h"
#include "modules.h"

enum { FIELDS_MAX = 16 };

static int log_at(lua_State *L, log_level_t level) {
  const log_t *log = &runtime_of(L)->log;
  lua_settop(L, 2);
  luaL_checkany(L, 1);
  if (level < log->level) return 0;
  luaL_tolstring(L, 1, NULL);
  mask_top(L);
  const char *message = lua_tostring(L, -1);
  log_field_t fields[FIELDS_MAX];
  int n = 0;
  if (!lua_isnil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    stack_reserve(L, 2 * FIELDS_MAX + 4, NULL);
    lua_pushnil(L);
    while (n < FIELDS_MAX && lua_next(L, 2)) {
      luaL_tolstring(L, -1, NULL);
      mask_top(L);
      fields[n].value = lua_tostring(L, -1);
      lua_remove(L, -2);
      fields[n].name = luaL_tolstring(L, -2, NULL);
      n++;
      lua_pushvalue(L, -3); /* the key again, above the texts that must stay alive */
    }
  }
  log_fields(log, level, message, fields, n);
  return 0;
}

static int llog_debug(lua_State *L) { return log_at(L, LOG_DEBUG); }
static int llog_info(lua_State *L) { return log_at(L, LOG_INFO); }
static int llog_warn(lua_State *L) { return log_at(L, LOG_WARN); }
static int llog_error(lua_State *L) { return log_at(L, LOG_ERROR); }

static int llog_level(lua_State *L) {
  lua_pushstring(L, log_level_name(runtime_of(L)->log.level));
  return 1;
}

static int llog_set_level(lua_State *L) {
  static const char *const names[] = {"debug", "info", "warn", "error", NULL};
  runtime_of(L)->log.level = (log_level_t)luaL_checkoption(L, 1, NULL, names);
  return 0;
}

int luaopen_pgafrun_log(lua_State *L) {
  static const luaL_Reg functions[] = {{"debug", llog_debug}, {"info", llog_info},
                                       {"warn", llog_warn},   {"error", llog_error},
                                       {"level", llog_level}, {"set_level", llog_set_level},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
