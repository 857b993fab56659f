/* json_encode.c - Lua values as JSON text.
 *
 * Not by jansson: only a walk over the Lua value itself can say where in it the fault is, and jansson's reals are not
 * the shortest (0.1 would be 0.10000000000000001). Keys are sorted, so that equal values give equal texts.
 */
#include "json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "collect.h"
#include "runtime/bytes.h"

#define WRITER_METATABLE "pgafrun.json.writer"

enum { DEPTH_MAX = 200 };

typedef struct writer {
  bytes_t text; /* first: what __gc frees */
  lua_State *L;
  int array_mark; /* place of json.array on the stack */
  int indent;     /* 0: all in one line */
  int depth;
  const void *open[DEPTH_MAX]; /* the tables we are in: one of them again is a cycle */
} writer_t;

static void write_value(writer_t *w, int index);

static void put(writer_t *w, const char *data, size_t size) {
  if (!bytes_append(&w->text, data, size)) memory_raise(w->L, NULL);
}

static void put_text(writer_t *w, const char *text) { put(w, text, strlen(text)); }

/* Length of the well-formed UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate, nothing above 10FFFF), or 0. */
static size_t utf8_length(const unsigned char *p, size_t room) {
  size_t n = p[0] < 0x80                   ? 1
             : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
             : (p[0] & 0xF0) == 0xE0       ? 3
             : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                           : 0;
  if (n == 0 || n > room) return 0;
  for (size_t i = 1; i < n; i++) {
    if ((p[i] & 0xC0) != 0x80) return 0;
  }
  if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
  if (p[0] == 0xED && p[1] > 0x9F) return 0;
  if (p[0] == 0xF0 && p[1] < 0x90) return 0;
  if (p[0] == 0xF4 && p[1] > 0x8F) return 0;
  return n;
}

/* At most 60 bytes of the key at the top of the stack, in well-formed UTF-8, as a step of a path. */
static void append_step(lua_State *L, bytes_t *path) {
  if (lua_isinteger(L, -1)) {
    bytes_printf(path, "[%lld]", (long long)lua_tointeger(L, -1));
    return;
  }
  size_t size, end = path->size + 60;
  const char *key = lua_tolstring(L, -1, &size);
  if (path->size) bytes_append(path, ".", 1);
  for (size_t i = 0, n; i < size && path->size < end; i += n ? n : 1) {
    n = utf8_length((const unsigned char *)key + i, size - i);
    bytes_append(path, n ? key + i : "?", n ? n : 1);
  }
}

/* The entries on the way to the fault are in the writer's list, one for each open table (see name_entry). */
static int raise_data(writer_t *w, const char *what) {
  lua_State *L = w->L;
  bytes_t *path = &w->text; /* the text itself is of no use any more */
  path->size = 0;
  lua_getiuservalue(L, 1, 1);
  for (int i = 1; i <= w->depth && path->size < 300; i++) {
    if (lua_rawgeti(L, -1, i) != LUA_TNIL) append_step(L, path);
    lua_pop(L, 1);
  }
  failure_t f = {0};
  if (path->size > 0) {
    failure_set(&f, "data", "json", "%s at %.*s", what, (int)path->size, path->data);
  } else {
    failure_set(&f, "data", "json", "%s", what);
  }
  return failure_raise(L, &f, "json.encode");
}

/* --- scalars --------------------------------------------------------------------------------------------- */

static void put_escape(writer_t *w, unsigned char c) {
  static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
  const char *at = c ? strchr(plain, c) : NULL;
  char escape[8];
  if (at) {
    snprintf(escape, sizeof escape, "\\%c", letters[at - plain]);
  } else {
    snprintf(escape, sizeof escape, "\\u%04x", c);
  }
  put_text(w, escape);
}

static void write_string(writer_t *w, const char *text, size_t size) {
  const unsigned char *p = (const unsigned char *)text, *end = p + size, *run = p;
  put(w, "\"", 1);
  while (p < end) {
    if (*p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
      p++;
    } else if (*p >= 0x80) {
      size_t n = utf8_length(p, (size_t)(end - p));
      if (n == 0) raise_data(w, "a string that is not UTF-8 cannot be encoded");
      p += n;
    } else {
      put(w, (const char *)run, (size_t)(p - run));
      put_escape(w, *p++);
      run = p;
    }
  }
  put(w, (const char *)run, (size_t)(p - run));
  put(w, "\"", 1);
}

/* The shortest form of at least 15 digits, less trailing zeros, that reads back as the same number, and as a float. */
static void write_float(writer_t *w, double number) {
  char text[40];
  if (!isfinite(number)) raise_data(w, "an infinite number or NaN cannot be encoded");
  for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  put_text(w, text);
  if (!strpbrk(text, ".e")) put_text(w, ".0");
}

/* --- tables ---------------------------------------------------------------------------------------------- */

static void open_table(writer_t *w, int index) {
  const void *table = lua_topointer(w->L, index);
  for (int i = 0; i < w->depth; i++) {
    if (w->open[i] == table) raise_data(w, "a table that contains itself cannot be encoded");
  }
  if (w->depth == DEPTH_MAX) raise_data(w, "a value nested deeper than 200 levels cannot be encoded");
  w->open[w->depth++] = table;
}

static void close_table(writer_t *w) { w->depth--; }

/* Remembers the key on top of the stack (and pops it) for the path in an error. */
static void name_entry(writer_t *w) {
  lua_State *L = w->L;
  lua_getiuservalue(L, 1, 1);
  lua_insert(L, -2);
  lua_rawseti(L, -2, w->depth);
  lua_pop(L, 1);
}

static void break_line(writer_t *w) {
  static const char spaces[] = "        ";
  if (w->indent == 0) return;
  put(w, "\n", 1);
  for (int i = 0; i < w->depth; i++) put(w, spaces, (size_t)w->indent);
}

static void write_array(writer_t *w, int index, lua_Integer n) {
  lua_State *L = w->L;
  put(w, "[", 1);
  for (lua_Integer i = 1; i <= n; i++) {
    if (i > 1) put(w, ",", 1);
    break_line(w);
    lua_pushinteger(L, i);
    name_entry(w);
    lua_rawgeti(L, index, i);
    write_value(w, lua_gettop(L));
    lua_pop(L, 1);
  }
  close_table(w);
  if (n > 0) break_line(w);
  put(w, "]", 1);
}

typedef struct key {
  const char *text;
  size_t size;
  lua_Integer place; /* in the list that keeps them alive: a __tojson might take one out of the table */
} json_key_t;

static int compare_keys(const void *a, const void *b) {
  const json_key_t *x = a, *y = b;
  int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
  return order ? order : x->size < y->size ? -1 : x->size > y->size;
}

/* Pushes a list of the table's keys and a userdata with the same keys sorted. */
static json_key_t *push_sorted_keys(writer_t *w, int index, size_t n) {
  lua_State *L = w->L;
  lua_createtable(L, (int)n, 0);
  int list = lua_gettop(L);
  json_key_t *keys = lua_newuserdatauv(L, n * sizeof *keys + 1, 0);
  size_t i = 0;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      raise_data(w, "a table with keys that are neither strings nor 1, 2, 3 ... cannot be encoded");
    keys[i].text = lua_tolstring(L, -1, &keys[i].size);
    keys[i].place = (lua_Integer)i + 1;
    lua_pushvalue(L, -1);
    lua_rawseti(L, list, keys[i++].place);
  }
  qsort(keys, n, sizeof *keys, compare_keys);
  return keys;
}

static void write_object(writer_t *w, int index, size_t n) {
  lua_State *L = w->L;
  json_key_t *keys = push_sorted_keys(w, index, n);
  int list = lua_gettop(L) - 1;
  put(w, "{", 1);
  for (size_t i = 0; i < n; i++) {
    if (i > 0) put(w, ",", 1);
    break_line(w);
    lua_rawgeti(L, list, keys[i].place);
    lua_pushvalue(L, -1);
    name_entry(w);
    write_string(w, keys[i].text, keys[i].size);
    put_text(w, w->indent ? ": " : ":");
    lua_rawget(L, index);
    write_value(w, lua_gettop(L));
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
  close_table(w);
  if (n > 0) break_line(w);
  put(w, "}", 1);
}

static bool is_marked_array(writer_t *w, int index) {
  lua_State *L = w->L;
  if (!lua_getmetatable(L, index)) return false;
  bool marked = lua_rawequal(L, -1, w->array_mark);
  lua_pop(L, 1);
  return marked;
}

static void write_table(writer_t *w, int index) {
  lua_State *L = w->L;
  open_table(w, index);
  lua_pushnil(L);
  name_entry(w); /* no entry yet: a fault found now is the table's own */
  size_t n = 0;
  lua_Integer length = (lua_Integer)lua_rawlen(L, index);
  bool in_sequence = true;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (key < 1 || key > length) in_sequence = false;
    n++;
  }
  if (length == 0 && !is_marked_array(w, index)) {
    write_object(w, index, n);
  } else if (in_sequence && n == (size_t)length) {
    write_array(w, index, length);
  } else {
    raise_data(w, "an array with holes or with other keys cannot be encoded");
  }
}

/* --- values ---------------------------------------------------------------------------------------------- */

/* The value as its metatable wants to be seen: replaces it on top of the stack. */
static void apply_tojson(writer_t *w) {
  lua_State *L = w->L;
  int type = lua_type(L, -1);
  if (type != LUA_TTABLE && type != LUA_TUSERDATA) return;
  for (int i = 0; luaL_getmetafield(L, -1, "__tojson") != LUA_TNIL; i++) {
    if (i == DEPTH_MAX) raise_data(w, "__tojson gives values with __tojson without end");
    lua_insert(L, -2);
    lua_call(L, 1, 1);
  }
}

/* Writes the value at index, which is the top of the stack; leaves one value there. */
static void write_value(writer_t *w, int index) {
  lua_State *L = w->L;
  stack_reserve(L, 12, "JSON too deep");
  apply_tojson(w);
  size_t size;
  switch (lua_type(L, index)) {
  case LUA_TBOOLEAN: put_text(w, lua_toboolean(L, index) ? "true" : "false"); return;
  case LUA_TTABLE: write_table(w, index); return;
  case LUA_TSTRING: {
    const char *text = lua_tolstring(L, index, &size);
    write_string(w, text, size);
    return;
  }
  case LUA_TNUMBER:
    if (lua_isinteger(L, index)) {
      lua_pushvalue(L, index);
      const char *text = lua_tolstring(L, -1, &size);
      put(w, text, size);
      lua_pop(L, 1);
    } else {
      write_float(w, lua_tonumber(L, index));
    }
    return;
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, index)) {
      put_text(w, "null");
      return;
    }
    /* fallthrough */
  default: {
    char what[80];
    snprintf(what, sizeof what, "a value of type %s cannot be encoded", luaL_typename(L, index));
    raise_data(w, what);
  }
  }
}

static int writer_gc(lua_State *L) {
  bytes_free(lua_touserdata(L, 1));
  return 0;
}

int json_encode(lua_State *L) {
  static const char *const names[] = {"indent", NULL};
  luaL_argcheck(L, !lua_isnoneornil(L, 1), 1, "nil has no JSON; there is json.null");
  arguments_check(L, 2, true, false, names);
  int indent = (int)arguments_integer(L, 2, "indent", 0, 0, 8);
  lua_settop(L, 1);
  writer_t *w = lua_newuserdatauv(L, sizeof *w, 1);
  memset(w, 0, sizeof *w);
  collect_by(L, WRITER_METATABLE, writer_gc);
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1); /* the keys on the way */
  lua_insert(L, 1);
  json_push_array_mark(L);
  w->L = L;
  w->indent = indent;
  w->array_mark = lua_gettop(L);
  lua_pushvalue(L, 2);
  write_value(w, lua_gettop(L));
  lua_pushlstring(L, w->text.data, w->text.size);
  bytes_free(&w->text);
  return 1;
}
