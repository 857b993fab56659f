/* json.c - decoding, by jansson; encoding is in json_encode.c. docs/meta/json.lua has the interface. */
#include "json.h"

#include <limits.h>
#include <string.h>

#include <jansson.h>
#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "collect.h"
#include "modules.h"

#define DOCUMENT_METATABLE "pgafrun.json.document"
#define ARRAY_METATABLE "pgafrun.json.array"

/* jansson's own limit is ten times this, and Lua's C stack is not without end. */
enum { DEPTH_MAX = 200 };

void json_push_null(lua_State *L) { lua_pushlightuserdata(L, NULL); }

void json_push_array_mark(lua_State *L) { luaL_newmetatable(L, ARRAY_METATABLE); }

/* --- decoding -------------------------------------------------------------------------------------------- */

static int raise_data(lua_State *L, int line, int column, const char *what) {
  failure_t f = {0};
  failure_set(&f, "data", "json", "line %d, column %d: %s", line, column, what);
  return failure_raise(L, &f, "json.decode");
}

/* Raises at the place where the text goes deeper than DEPTH_MAX; jansson could tell only that, or no place at all. */
static void check_depth(lua_State *L, const char *text, size_t size) {
  int depth = 0, line = 1;
  size_t line_start = 0;
  for (size_t i = 0; i < size; i++) {
    switch (text[i]) {
    case '"':
      for (i++; i < size && text[i] != '"'; i++) {
        if (text[i] == '\\') i++;
      }
      break;
    case '\n':
      line++;
      line_start = i + 1;
      break;
    case '[':
    case '{':
      if (++depth > DEPTH_MAX)
        raise_data(L, line, (int)(i - line_start) + 1, "nested deeper than 200 levels");
      break;
    case ']':
    case '}': depth--; break;
    default: break;
    }
  }
}

typedef struct decoder {
  lua_State *L;
  int array_mark; /* its place on the stack */
} decoder_t;

static void push_value(decoder_t *d, json_t *value);

static void push_array(decoder_t *d, json_t *array) {
  lua_State *L = d->L;
  size_t n = json_array_size(array);
  lua_createtable(L, n < INT_MAX ? (int)n : 0, 0);
  for (size_t i = 0; i < n; i++) {
    push_value(d, json_array_get(array, i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushvalue(L, d->array_mark);
  lua_setmetatable(L, -2);
}

static void push_object(decoder_t *d, json_t *object) {
  lua_State *L = d->L;
  size_t n = json_object_size(object);
  lua_createtable(L, 0, n < INT_MAX ? (int)n : 0);
  for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
    lua_pushstring(L, json_object_iter_key(i));
    push_value(d, json_object_iter_value(i));
    lua_rawset(L, -3);
  }
}

static void push_value(decoder_t *d, json_t *value) {
  lua_State *L = d->L;
  stack_reserve(L, 4, "JSON too deep");
  switch (json_typeof(value)) {
  case JSON_OBJECT: push_object(d, value); break;
  case JSON_ARRAY: push_array(d, value); break;
  case JSON_STRING: lua_pushlstring(L, json_string_value(value), json_string_length(value)); break;
  case JSON_INTEGER: lua_pushinteger(L, json_integer_value(value)); break;
  case JSON_REAL: lua_pushnumber(L, json_real_value(value)); break;
  case JSON_TRUE: lua_pushboolean(L, true); break;
  case JSON_FALSE: lua_pushboolean(L, false); break;
  case JSON_NULL: json_push_null(L); break;
  }
}

/* The parsed text belongs to a userdata, because pushing its values may raise. */
static int document_gc(lua_State *L) {
  json_t **document = lua_touserdata(L, 1);
  json_decref(*document);
  *document = NULL;
  return 0;
}

static json_t **push_document(lua_State *L) {
  json_t **document = lua_newuserdatauv(L, sizeof *document, 0);
  *document = NULL;
  collect_by(L, DOCUMENT_METATABLE, document_gc);
  return document;
}

static int ljson_decode(lua_State *L) {
  size_t size;
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *text = lua_tolstring(L, 1, &size);
  lua_settop(L, 1);
  check_depth(L, text, size);
  json_t **document = push_document(L);
  json_error_t error;
  *document = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
  if (!*document) return raise_data(L, error.line, error.column, error.text);
  json_push_array_mark(L);
  decoder_t d = {L, lua_gettop(L)};
  push_value(&d, *document);
  json_decref(*document); /* now: the collector does not know how large it is */
  *document = NULL;
  return 1;
}

static int ljson_as_array(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  json_push_array_mark(L);
  lua_setmetatable(L, 1);
  return 1;
}

int luaopen_pgafrun_json(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"decode", ljson_decode}, {"encode", json_encode}, {"as_array", ljson_as_array}, {NULL, NULL}};
  luaL_newlib(L, functions);
  json_push_null(L);
  lua_setfield(L, -2, "null");
  json_push_array_mark(L);
  lua_setfield(L, -2, "array");
  return 1;
}
