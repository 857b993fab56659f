/* yaml.c - reading YAML by libyaml's events; docs/meta/yaml.lua has the interface.
 *
 * An alias is the same table again, not a copy; what could grow beyond measure is not our memory but the work of whoever
 * walks through the result, so what aliases stand for is counted as if it were written out.
 */
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <yaml.h>

#include "arguments.h"
#include "async.h"
#include "collect.h"
#include "json.h"
#include "modules.h"
#include "yaml_scalar.h"

#define READER_METATABLE "pgafrun.yaml.reader"

enum {
  DEPTH_MAX = 100,
  ALIASED_NODES_MAX = 100000,
  TEXT_MAX = 16 << 20,
};

typedef struct reader {
  yaml_parser_t parser;
  yaml_event_t event; /* the current one */
  bool parser_made, event_made;
  lua_State *L;
  int depth;
  lua_Integer nodes, aliased; /* read so far; the second through aliases */
} reader_t;

/* Places on the stack of lyaml_decode, where all of this runs. LINES is nil when nobody wants them. */
enum { TEXT = 1, OPTIONS, TAGS, LINES, ANCHORS, ANCHOR_SIZES, ARRAY_MARK, READER };

static void read_node(reader_t *r);

static int raise_at(reader_t *r, yaml_mark_t mark, const char *what) {
  failure_t f = {0};
  failure_set(&f, "data", "yaml", "line %zu, column %zu: %s", mark.line + 1, mark.column + 1, what);
  return failure_raise(r->L, &f, "yaml.decode");
}

static int raise_here(reader_t *r, const char *what) { return raise_at(r, r->event.start_mark, what); }

static void raise_tag(reader_t *r, const char *tag) {
  char what[160];
  snprintf(what, sizeof what, "the tag %.100s is not known here", tag);
  raise_here(r, what);
}

static void raise_parser(reader_t *r) {
  const yaml_parser_t *p = &r->parser;
  yaml_mark_t mark = p->error == YAML_READER_ERROR ? p->mark : p->problem_mark; /* the reader gives none */
  char what[300];
  if (p->error == YAML_MEMORY_ERROR) memory_raise(r->L, NULL);
  snprintf(what, sizeof what, "%s%s%s", p->problem ? p->problem : "not YAML", p->context ? " " : "",
           p->context ? p->context : "");
  raise_at(r, mark, what);
}

static yaml_event_type_t next_event(reader_t *r) {
  if (r->event_made) yaml_event_delete(&r->event);
  r->event_made = false;
  if (!yaml_parser_parse(&r->parser, &r->event)) raise_parser(r);
  r->event_made = true;
  return r->event.type;
}

/* --- anchors --------------------------------------------------------------------------------------------- */

/* The value on top of the stack gets the name on which it was waiting, just below it (nil: none). That goes away. */
static void define_anchor(reader_t *r, lua_Integer nodes_before) {
  lua_State *L = r->L;
  if (!lua_isnil(L, -2)) {
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, ANCHORS);
    lua_pushvalue(L, -2);
    lua_pushinteger(L, r->nodes - nodes_before);
    lua_rawset(L, ANCHOR_SIZES);
  }
  lua_remove(L, -2);
}

static void push_alias(reader_t *r) {
  lua_State *L = r->L;
  const char *name = (const char *)r->event.data.alias.anchor;
  lua_getfield(L, ANCHOR_SIZES, name);
  if (lua_isnil(L, -1)) raise_here(r, "an alias of something that is not defined, or not yet complete");
  lua_Integer size = lua_tointeger(L, -1);
  lua_pop(L, 1);
  r->nodes += size;
  r->aliased += size;
  if (r->aliased > ALIASED_NODES_MAX) raise_here(r, "aliases stand for more than 100000 values");
  lua_getfield(L, ANCHORS, name);
}

/* --- scalars --------------------------------------------------------------------------------------------- */

/* Calls options.tags[tag](text, line); what it returns is the value. */
static bool push_tagged(reader_t *r, const char *tag, const char *text, size_t size) {
  lua_State *L = r->L;
  if (lua_getfield(L, TAGS, tag) == LUA_TNIL) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushlstring(L, text, size);
  lua_pushinteger(L, (lua_Integer)r->event.start_mark.line + 1);
  lua_call(L, 2, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    json_push_null(L);
  }
  return true;
}

static void push_scalar(reader_t *r) {
  lua_State *L = r->L;
  const char *text = (const char *)r->event.data.scalar.value, *tag = (const char *)r->event.data.scalar.tag;
  size_t size = r->event.data.scalar.length;
  const char *problem = NULL;
  if (tag && strcmp(tag, "!") != 0) {
    if (push_tagged(r, tag, text, size)) return;
    if (!scalar_push_as(L, tag, text, size, &problem)) raise_tag(r, tag);
  } else if (!tag && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
    problem = scalar_push(L, text, size);
  } else {
    lua_pushlstring(L, text, size);
  }
  if (problem) raise_here(r, problem);
}

static void check_collection_tag(reader_t *r, const unsigned char *tag, const char *standard) {
  if (!tag || strcmp((const char *)tag, "!") == 0 || strcmp((const char *)tag, standard) == 0) return;
  raise_tag(r, (const char *)tag);
}

/* --- collections ----------------------------------------------------------------------------------------- */

/* Pushes the new table and, when lines are wanted, its table of lines (else nil). */
static void push_collection(reader_t *r) {
  lua_State *L = r->L;
  if (++r->depth > DEPTH_MAX) raise_here(r, "nested deeper than 100 levels");
  stack_reserve(L, 20, "YAML too deep");
  lua_newtable(L);
  if (lua_isnil(L, LINES)) {
    lua_pushnil(L);
    return;
  }
  lua_newtable(L);
  lua_pushvalue(L, -2);
  lua_pushvalue(L, -2);
  lua_rawset(L, LINES);
}

/* lines[key at index] = line, if there is a table of lines at lines. */
static void note_line(reader_t *r, int lines, int key, lua_Integer line) {
  lua_State *L = r->L;
  if (lua_isnil(L, lines)) return;
  lua_pushvalue(L, key);
  lua_pushinteger(L, line);
  lua_rawset(L, lines);
}

static lua_Integer line_of(const reader_t *r) { return (lua_Integer)r->event.start_mark.line + 1; }

static void read_sequence(reader_t *r) {
  lua_State *L = r->L;
  check_collection_tag(r, r->event.data.sequence_start.tag, YAML_SEQ_TAG);
  push_collection(r);
  int list = lua_gettop(L) - 1, lines = list + 1;
  for (lua_Integer i = 1; next_event(r) != YAML_SEQUENCE_END_EVENT; i++) {
    lua_pushinteger(L, i);
    note_line(r, lines, lines + 1, line_of(r));
    read_node(r);
    lua_rawset(L, list);
  }
  lua_pop(L, 1);
  lua_pushvalue(L, ARRAY_MARK);
  lua_setmetatable(L, -2);
  r->depth--;
}

/* The line of a merged key is the one where it was written. */
static void merge_line(reader_t *r, int lines, int from, int key, yaml_mark_t mark) {
  lua_State *L = r->L;
  lua_Integer line = (lua_Integer)mark.line + 1;
  if (lua_isnil(L, lines)) return;
  lua_pushvalue(L, from);
  if (lua_rawget(L, LINES) == LUA_TTABLE) { /* not when a function of options.tags made it */
    lua_pushvalue(L, key);
    lua_rawget(L, -2);
    if (lua_isinteger(L, -1)) line = lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  note_line(r, lines, key, line);
}

/* What the mapping at `from` has and the mapping at `into` has not, with its lines. */
static void merge_mapping(reader_t *r, int into, int lines, int from, yaml_mark_t mark) {
  lua_State *L = r->L;
  if (!lua_istable(L, from)) raise_at(r, mark, "<< must be a mapping or a list of mappings");
  if (lua_getmetatable(L, from)) raise_at(r, mark, "<< must be a mapping or a list of mappings");
  lua_pushnil(L);
  while (lua_next(L, from)) {
    lua_pushvalue(L, -2);
    bool absent = lua_rawget(L, into) == LUA_TNIL;
    lua_pop(L, 1);
    if (absent) {
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, into);
      merge_line(r, lines, from, lua_gettop(L) - 1, mark);
    }
    lua_pop(L, 1);
  }
}

/* After all other keys, because those come first: the value of <<, at index. */
static void apply_merge(reader_t *r, int into, int lines, int index, yaml_mark_t mark) {
  lua_State *L = r->L;
  bool is_list = lua_istable(L, index) && lua_getmetatable(L, index);
  if (!is_list) {
    merge_mapping(r, into, lines, index, mark);
    return;
  }
  lua_pop(L, 1);
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, index, i);
    merge_mapping(r, into, lines, lua_gettop(L), mark);
    lua_pop(L, 1);
  }
}

static bool is_merge_key(const reader_t *r) {
  return r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
         !r->event.data.scalar.tag && strcmp((const char *)r->event.data.scalar.value, "<<") == 0;
}

static void check_key(reader_t *r, int map, yaml_mark_t mark) {
  lua_State *L = r->L;
  int type = lua_type(L, -1);
  bool ok = type == LUA_TSTRING || type == LUA_TBOOLEAN || type == LUA_TNUMBER;
  if (!ok || (type == LUA_TNUMBER && !lua_rawequal(L, -1, -1))) {
    raise_at(r, mark, "a key must be a string, a number or a boolean");
  }
  lua_pushvalue(L, -1);
  if (lua_rawget(L, map) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  char what[120];
  lua_pop(L, 1);
  snprintf(what, sizeof what, "the key '%.80s' is there twice", luaL_tolstring(L, -1, NULL));
  raise_at(r, mark, what);
}

static void read_mapping(reader_t *r) {
  lua_State *L = r->L;
  check_collection_tag(r, r->event.data.mapping_start.tag, YAML_MAP_TAG);
  push_collection(r);
  int map = lua_gettop(L) - 1, lines = map + 1, merged = map + 2;
  yaml_mark_t merge_mark = {0};
  lua_pushnil(L); /* the value of << */
  while (next_event(r) != YAML_MAPPING_END_EVENT) {
    yaml_mark_t mark = r->event.start_mark;
    if (is_merge_key(r)) {
      if (!lua_isnil(L, merged)) raise_here(r, "the key '<<' is there twice");
      merge_mark = mark;
      next_event(r);
      read_node(r);
      lua_replace(L, merged);
      continue;
    }
    read_node(r);
    check_key(r, map, mark);
    note_line(r, lines, lua_gettop(L), (lua_Integer)mark.line + 1);
    next_event(r);
    read_node(r);
    lua_rawset(L, map);
  }
  if (!lua_isnil(L, merged)) apply_merge(r, map, lines, merged, merge_mark);
  lua_settop(L, map);
  r->depth--;
}

/* --- documents ------------------------------------------------------------------------------------------- */

static void push_anchor_name(reader_t *r) {
  const yaml_event_t *e = &r->event;
  const yaml_char_t *name = e->type == YAML_SCALAR_EVENT           ? e->data.scalar.anchor
                            : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor
                            : e->type == YAML_MAPPING_START_EVENT  ? e->data.mapping_start.anchor
                                                                   : NULL;
  lua_pushstring(r->L, (const char *)name);
}

/* Pushes the value that begins with the current event. */
static void read_node(reader_t *r) {
  if (r->event.type == YAML_ALIAS_EVENT) {
    push_alias(r);
    return;
  }
  lua_Integer before = r->nodes++;
  push_anchor_name(r);
  switch (r->event.type) {
  case YAML_SCALAR_EVENT: push_scalar(r); break;
  case YAML_SEQUENCE_START_EVENT: read_sequence(r); break;
  case YAML_MAPPING_START_EVENT: read_mapping(r); break;
  default: raise_here(r, "not a value"); break;
  }
  define_anchor(r, before);
}

/* Pushes the one document; nil when there is none. */
static void read_stream(reader_t *r) {
  next_event(r); /* stream start */
  if (next_event(r) == YAML_STREAM_END_EVENT) {
    lua_pushnil(r->L);
    return;
  }
  next_event(r);
  read_node(r);
  next_event(r); /* document end */
  if (next_event(r) != YAML_STREAM_END_EVENT) raise_here(r, "more than one document");
}

static int reader_gc(lua_State *L) {
  reader_t *r = lua_touserdata(L, 1);
  if (r->event_made) yaml_event_delete(&r->event);
  if (r->parser_made) yaml_parser_delete(&r->parser);
  r->event_made = r->parser_made = false;
  return 0;
}

static reader_t *push_reader(lua_State *L) {
  reader_t *r = lua_newuserdatauv(L, sizeof *r, 0);
  memset(r, 0, sizeof *r);
  r->L = L;
  collect_by(L, READER_METATABLE, reader_gc);
  if (!yaml_parser_initialize(&r->parser)) memory_raise(L, NULL);
  r->parser_made = true;
  return r;
}

static int lyaml_decode(lua_State *L) {
  static const char *const names[] = {"tags", "lines", NULL};
  luaL_checktype(L, TEXT, LUA_TSTRING);
  arguments_check(L, OPTIONS, true, false, names);
  lua_settop(L, OPTIONS);
  if (lua_getfield(L, OPTIONS, "tags") == LUA_TNIL) {
    lua_newtable(L);
    lua_replace(L, TAGS);
  }
  luaL_argcheck(L, lua_istable(L, TAGS), OPTIONS, "option 'tags' must be a table of functions");
  bool wants_lines = arguments_boolean(L, OPTIONS, "lines", false);
  if (wants_lines) {
    lua_newtable(L);
  } else {
    lua_pushnil(L);
  }
  lua_newtable(L);
  lua_newtable(L);
  json_push_array_mark(L);
  reader_t *r = push_reader(L);
  size_t size;
  const char *text = lua_tolstring(L, TEXT, &size);
  if (size > TEXT_MAX) {
    failure_t f = {0};
    failure_set(&f, "limit", "max_bytes", "a YAML text of more than 16 MiB");
    return failure_raise(L, &f, "yaml.decode");
  }
  yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, size);
  yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
  read_stream(r);
  if (!wants_lines) return 1;
  lua_pushvalue(L, LINES);
  return 2;
}

int luaopen_pgafrun_yaml(lua_State *L) {
  static const luaL_Reg functions[] = {{"decode", lyaml_decode}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
