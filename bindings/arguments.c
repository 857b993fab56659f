#include "arguments.h"

#include <string.h>

#include <lauxlib.h>

#include "async.h"

static bool is_one_of(const char *name, const char *const names[]) {
  for (; *names; names++) {
    if (strcmp(name, *names) == 0) return true;
  }
  return false;
}

static int unknown_option(lua_State *L, int index, const char *const names[]) {
  luaL_Buffer b;
  const char *name = luaL_tolstring(L, -1, NULL);
  luaL_buffinit(L, &b);
  for (const char *const *n = names; *n; n++) {
    if (n != names) luaL_addstring(&b, ", ");
    luaL_addstring(&b, *n);
  }
  luaL_pushresult(&b);
  return luaL_argerror(L, index,
                       lua_pushfstring(L, "no option '%s'; there are: %s", name, lua_tostring(L, -1)));
}

void arguments_check(lua_State *L, int index, bool optional, bool list, const char *const names[]) {
  if (optional && lua_isnoneornil(L, index)) {
    lua_settop(L, index);
    lua_newtable(L);
    lua_replace(L, index);
    return;
  }
  luaL_checktype(L, index, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (list && lua_isinteger(L, -1)) continue;
    if (lua_type(L, -1) != LUA_TSTRING || !is_one_of(lua_tostring(L, -1), names))
      unknown_option(L, index, names);
  }
}

static int wrong_option(lua_State *L, int index, const char *name, const char *wanted) {
  return luaL_argerror(L, index, lua_pushfstring(L, "option '%s' must be %s", name, wanted));
}

lua_Integer arguments_integer(lua_State *L, int index, const char *name, lua_Integer fallback,
                              lua_Integer min, lua_Integer max) {
  lua_Integer value = fallback;
  if (lua_getfield(L, index, name) != LUA_TNIL) {
    int ok = lua_type(L, -1) == LUA_TNUMBER;
    if (ok) value = lua_tointegerx(L, -1, &ok);
    if (!ok || value < min || value > max) {
      wrong_option(L, index, name,
                   lua_pushfstring(L, "an integer from %I to %I", (LUAI_UACINT)min, (LUAI_UACINT)max));
    }
  }
  lua_pop(L, 1);
  return value;
}

double arguments_number(lua_State *L, int index, const char *name, double fallback, double min, double max) {
  double value = fallback;
  if (lua_getfield(L, index, name) != LUA_TNIL) {
    value = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER || !(value >= min && value <= max)) {
      wrong_option(L, index, name, lua_pushfstring(L, "a number from %f to %f", min, max));
    }
  }
  lua_pop(L, 1);
  return value;
}

bool arguments_boolean(lua_State *L, int index, const char *name, bool fallback) {
  bool value = fallback;
  if (lua_getfield(L, index, name) != LUA_TNIL) {
    value = lua_toboolean(L, -1);
    if (!lua_isboolean(L, -1)) wrong_option(L, index, name, "true or false");
  }
  lua_pop(L, 1);
  return value;
}

const char *arguments_text(lua_State *L, int index, const char *name) {
  if (lua_getfield(L, index, name) == LUA_TNIL) return NULL;
  if (lua_type(L, -1) != LUA_TSTRING) wrong_option(L, index, name, "a string");
  const char *text = lua_tostring(L, -1);
  if (strlen(text) != lua_rawlen(L, -1)) wrong_option(L, index, name, "without zero bytes");
  return text;
}

const char *argument_text(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TSTRING);
  const char *text = lua_tostring(L, index);
  luaL_argcheck(L, strlen(text) == lua_rawlen(L, index), index, "contains a zero byte");
  return text;
}

const char *argument_name(lua_State *L, int index) {
  const char *path = argument_text(L, index);
  luaL_argcheck(L, *path, index, "must not be empty");
  return path;
}

void stack_reserve(lua_State *L, int slots, const char *what) {
  if (lua_checkstack(L, slots)) return;
  if (lua_gettop(L) + slots < LUAI_MAXSTACK / 2) memory_raise(L, NULL);
  luaL_checkstack(L, slots, what);
}

op_t *operation_made(lua_State *L, op_t *op) {
  if (!op) memory_raise(L, NULL);
  return op;
}
