#include <math.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "pg.h"

#define PARAMETERS_MAX 65535 /* the protocol counts them in 16 bits */

/* Length of the list at index: its field n, or its border. */
static int parameter_count(lua_State *L, int index, int argument) {
  if (lua_isnoneornil(L, index)) return 0;
  luaL_argcheck(L, lua_istable(L, index), argument, "parameters must be a list");
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  if (lua_getfield(L, index, "n") != LUA_TNIL) {
    int ok;
    n = lua_tointegerx(L, -1, &ok);
    luaL_argcheck(L, ok && n >= 0, argument, "field n of the parameters must be their number");
  }
  lua_pop(L, 1);
  luaL_argcheck(L, n <= PARAMETERS_MAX, argument, "more than 65535 parameters");
  return (int)n;
}

static const char *push_number(lua_State *L, int index) {
  char text[40];
  if (lua_isinteger(L, index)) {
    snprintf(text, sizeof text, LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, index));
    return lua_pushstring(L, text);
  }
  double d = lua_tonumber(L, index);
  if (isnan(d)) return lua_pushliteral(L, "NaN");
  if (isinf(d)) return lua_pushstring(L, d > 0 ? "Infinity" : "-Infinity");
  snprintf(text, sizeof text, "%.17g", d);
  return lua_pushstring(L, text);
}

static int wrong_parameter(lua_State *L, int argument, int number, const char *why) {
  return luaL_argerror(L, argument, lua_pushfstring(L, "parameter $%d %s", number, why));
}

/* The text of the parameter on top, which it pops. Texts made here are kept in the table at index texts. */
static const char *take_parameter(lua_State *L, int texts, int argument, int number) {
  const char *text = NULL;
  switch (lua_type(L, -1)) {
  case LUA_TNIL: break;
  case LUA_TBOOLEAN: text = lua_toboolean(L, -1) ? "t" : "f"; break;
  case LUA_TNUMBER:
    text = push_number(L, -1);
    lua_rawseti(L, texts, (lua_Integer)lua_rawlen(L, texts) + 1);
    break;
  case LUA_TSTRING:
    text = lua_tostring(L, -1);
    if (strlen(text) != lua_rawlen(L, -1)) wrong_parameter(L, argument, number, "contains a zero byte");
    break;
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, -1)) break; /* pg.null */
    /* fall through */
  default:
    wrong_parameter(L, argument, number,
                    lua_pushfstring(L, "is a %s; it must be a string, a number, a boolean or null",
                                    luaL_typename(L, -1)));
  }
  lua_pop(L, 1);
  return text;
}

static void take_parameters(lua_State *L, int index, int texts, int argument, int count,
                            const char **values) {
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, index, i + 1);
    values[i] = take_parameter(L, texts, argument, i + 1);
  }
}

static const char *statement_text(lua_State *L, int index, int argument) {
  luaL_argcheck(L, lua_type(L, index) == LUA_TSTRING, argument, "a statement must be a string");
  const char *sql = lua_tostring(L, index);
  luaL_argcheck(L, strlen(sql) == lua_rawlen(L, index), argument, "a statement contains a zero byte");
  return sql;
}

pg_statement_t *pg_push_statement(lua_State *L, int sql, int parameters, int argument) {
  int count = parameter_count(L, parameters, argument);
  pg_statement_t *s = lua_newuserdatauv(L, sizeof *s + (size_t)count * sizeof(char *), 0);
  const char **values = (const char **)(s + 1);
  lua_newtable(L);
  int texts = lua_gettop(L);
  take_parameters(L, parameters, texts, argument, count, values);
  *s = (pg_statement_t){statement_text(L, sql, argument), count, values};
  return s;
}

/* Pushes the two parts of entry i of the list. */
static void push_parts(lua_State *L, int list, lua_Integer i) {
  if (lua_rawgeti(L, list, i) != LUA_TTABLE)
    luaL_argerror(L, list, lua_pushfstring(L, "entry %I is no table { sql, parameters }", (LUAI_UACINT)i));
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_remove(L, -3);
}

pg_statement_t *pg_push_statements(lua_State *L, int list, size_t *count) {
  luaL_checktype(L, list, LUA_TTABLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  size_t total = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    push_parts(L, list, i);
    statement_text(L, -2, list);
    total += (size_t)parameter_count(L, lua_gettop(L), list);
    lua_pop(L, 2);
  }
  pg_statement_t *s = lua_newuserdatauv(L, (size_t)n * sizeof *s + total * sizeof(char *), 0);
  const char **values = (const char **)(s + n);
  lua_newtable(L);
  int texts = lua_gettop(L);
  for (lua_Integer i = 1; i <= n; i++) {
    push_parts(L, list, i);
    int parameters = lua_gettop(L), own = parameter_count(L, parameters, list);
    take_parameters(L, parameters, texts, list, own, values);
    s[i - 1] = (pg_statement_t){lua_tostring(L, -2), own, values};
    values += own;
    lua_pop(L, 2);
  }
  *count = (size_t)n;
  return s;
}
