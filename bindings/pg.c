/* pg.c - PostgreSQL; docs/meta/pg.lua has the interface. */
#include "pg.h"

#include <string.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "collect.h"
#include "modules.h"
#include "runtime/pg_text.h"

#define CONNECTION_METATABLE "pgafrun.pg.Connection"
#define CONNINFO_METATABLE "pgafrun.pg.conninfo"

#define CONNECT_TIMEOUT 30.0
#define QUERY_TIMEOUT 60.0
#define TIMEOUT_MIN 0.001
#define TIMEOUT_MAX 1e7

/* --- connection parameters
 * ------------------------------------------------------------------------------- */

/* Holds them while Lua code can raise. */
typedef struct conninfo_box {
  pg_conninfo_t *info;
} conninfo_box_t;

static int conninfo_gc(lua_State *L) {
  conninfo_box_t *box = lua_touserdata(L, 1);
  pg_conninfo_free(box->info);
  box->info = NULL;
  return 0;
}

static conninfo_box_t *push_conninfo(lua_State *L) {
  conninfo_box_t *box = lua_newuserdatauv(L, sizeof *box, 0);
  box->info = NULL;
  collect_by(L, CONNINFO_METATABLE, conninfo_gc);
  box->info = pg_conninfo_new();
  if (!box->info) memory_raise(L, NULL);
  return box;
}

/* The keyword's value on top, as text. */
static const char *keyword_text(lua_State *L, const char *keyword) {
  int is_integer;
  lua_Integer integer = lua_tointegerx(L, -1, &is_integer);
  if (lua_type(L, -1) == LUA_TNUMBER && is_integer) { /* libpq would not take "5000.0" */
    lua_pushinteger(L, integer);
    lua_replace(L, -2);
  }
  if (lua_isboolean(L, -1)) return lua_toboolean(L, -1) ? "1" : "0";
  if (!lua_isstring(L, -1))
    luaL_argerror(L, 1, lua_pushfstring(L, "keyword '%s' must be a string or a number", keyword));
  const char *text = lua_tostring(L, -1);
  if (strlen(text) != lua_rawlen(L, -1))
    luaL_argerror(L, 1, lua_pushfstring(L, "keyword '%s' contains a zero byte", keyword));
  return text;
}

/* Of the table at index 1; a password function's result is at index 3. */
static void read_keywords(lua_State *L, pg_conninfo_t *info) {
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 1, "the names of keywords must be strings");
    const char *keyword = lua_tostring(L, -2);
    if (lua_isfunction(L, -1) && strcmp(keyword, "password") == 0) {
      luaL_argcheck(L, lua_type(L, 3) == LUA_TSTRING, 1, "the password function must return a string");
      lua_pushvalue(L, 3);
      lua_replace(L, -2);
    }
    if (!pg_conninfo_set(info, keyword, keyword_text(L, keyword))) memory_raise(L, NULL);
    lua_pop(L, 1);
  }
}

static void read_conninfo(lua_State *L, pg_conninfo_t *info, const char *operation) {
  failure_t f = {0};
  if (lua_type(L, 1) == LUA_TSTRING) {
    if (!pg_conninfo_parse(info, argument_text(L, 1), &f)) failure_raise(L, &f, operation);
    return;
  }
  luaL_argexpected(L, lua_istable(L, 1), 1, "string or table");
  read_keywords(L, info);
}

/* --- connecting
 * ------------------------------------------------------------------------------------------ */

typedef struct handle {
  pg_connection_t *connection; /* NULL only while it is being made, and after __gc */
  char made_at[100];
} handle_t;

static int lpg_connect_finish(lua_State *L, op_t *op) {
  handle_t *h = lua_newuserdatauv(L, sizeof *h, 0);
  memset(h, 0, sizeof *h);
  luaL_setmetatable(L, CONNECTION_METATABLE);
  luaL_where(L, 1);
  strncat(h->made_at, lua_tostring(L, -1), sizeof h->made_at - 1);
  lua_pop(L, 1);
  h->connection = pg_connect_take(op);
  return 1;
}

static int lpg_connect_start(lua_State *L, int status, lua_KContext ctx) {
  failure_t f = {0};
  double timeout = arguments_number(L, 2, "timeout", CONNECT_TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX);
  conninfo_box_t *box = push_conninfo(L);
  read_conninfo(L, box->info, "pg.connect");
  lua_pushnil(L);
  lua_replace(L, 3); /* the password need not stay for as long as the connection takes */
  if (!pg_conninfo_plan(box->info, &f)) return failure_raise(L, &f, "pg.connect");
  async_t *a = async_begin(L, "pg.connect");
  pg_conninfo_t *info = box->info;
  box->info = NULL;
  op_t *op = pg_connect_start(&runtime_of(L)->loop, info);
  return async_wait(L, a, operation_made(L, op), timeout, lpg_connect_finish);
}

static int lpg_connect(lua_State *L) {
  static const char *const options[] = {"timeout", NULL};
  lua_settop(L, 2);
  arguments_check(L, 2, true, false, options);
  /* the function that fetches a password may wait, so it is called here and not among the other keywords */
  if (lua_istable(L, 1) && lua_getfield(L, 1, "password") == LUA_TFUNCTION)
    lua_callk(L, 0, 1, 0, lpg_connect_start);
  lua_settop(L, 3);
  return lpg_connect_start(L, LUA_OK, 0);
}

/* --- the connection's methods
 * ---------------------------------------------------------------------------- */

static pg_connection_t *check_connection(lua_State *L) {
  handle_t *h = luaL_checkudata(L, 1, CONNECTION_METATABLE);
  luaL_argcheck(L, h->connection, 1, "a connection that has been collected");
  return h->connection;
}

/* Raises if no query can be started now. */
static void require_ready(lua_State *L, pg_connection_t *c, const char *operation) {
  if (!pg_connection_is_open(c)) failure_raise(L, pg_connection_why_closed(c), operation);
  if (pg_connection_is_busy(c))
    luaL_argerror(L, 1, "connection is busy: another task's query is running on it");
}

typedef struct query_options {
  double timeout;
  bool mutates, atomic;
} query_options_t;

static query_options_t read_options(lua_State *L, int index, const char *const names[]) {
  arguments_check(L, index, true, false, names);
  return (query_options_t){
      .timeout = arguments_number(L, index, "timeout", QUERY_TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX),
      .mutates = arguments_boolean(L, index, "mutates", true),
      .atomic = arguments_boolean(L, index, "atomic", false),
  };
}

static int lconnection_query_finish(lua_State *L, op_t *op) {
  failure_t f = {0};
  if (pg_query_failure(op, 0, &f)) {
    pg_push_failure(L, op, 0, &f);
    return lua_error(L);
  }
  pg_push_result(L, op, 0);
  return 1;
}

static int lconnection_query(lua_State *L) {
  static const char *const names[] = {"timeout", "mutates", NULL};
  pg_connection_t *c = check_connection(L);
  lua_settop(L, 4);
  argument_text(L, 2);
  query_options_t o = read_options(L, 4, names);
  pg_statement_t *statement = pg_push_statement(L, 2, 3, 3);
  async_t *a = async_begin(L, "pg.query");
  require_ready(L, c, "pg.query");
  op_t *op = pg_query_start(c, PG_QUERY_ONE, statement, 1, o.mutates);
  return async_wait(L, a, operation_made(L, op), o.timeout, lconnection_query_finish);
}

static int lconnection_exec(lua_State *L) {
  static const char *const names[] = {"timeout", "mutates", NULL};
  pg_connection_t *c = check_connection(L);
  lua_settop(L, 3);
  pg_statement_t statement = {argument_text(L, 2), 0, NULL};
  query_options_t o = read_options(L, 3, names);
  async_t *a = async_begin(L, "pg.exec");
  require_ready(L, c, "pg.exec");
  op_t *op = pg_query_start(c, PG_QUERY_SCRIPT, &statement, 1, o.mutates);
  return async_wait(L, a, operation_made(L, op), o.timeout, lconnection_query_finish);
}

#define RESULTS 4 /* where lconnection_pipeline keeps them on its stack */

/* What is answered becomes Lua values while the server works on the rest. */
static void lconnection_pipeline_take(lua_State *L, op_t *op) {
  size_t count = pg_query_answered(op);
  for (size_t i = lua_rawlen(L, RESULTS); i < count; i++) {
    failure_t f = {0};
    if (pg_query_failure(op, i, &f))
      pg_push_failure(L, op, i, &f);
    else
      pg_push_result(L, op, i);
    pg_query_drop(op, i);
    lua_rawseti(L, RESULTS, (lua_Integer)i + 1);
  }
}

static int lconnection_pipeline_finish(lua_State *L, op_t *op) {
  lconnection_pipeline_take(L, op);
  lua_pushvalue(L, RESULTS);
  return 1;
}

static int lconnection_pipeline(lua_State *L) {
  static const char *const names[] = {"timeout", "mutates", "atomic", NULL};
  size_t count;
  pg_connection_t *c = check_connection(L);
  lua_settop(L, 3);
  query_options_t o = read_options(L, 3, names);
  lua_createtable(L, (int)lua_rawlen(L, 2), 0); /* at RESULTS */
  pg_statement_t *statements = pg_push_statements(L, 2, &count);
  async_t *a = async_begin(L, "pg.pipeline");
  require_ready(L, c, "pg.pipeline");
  if (count == 0) {
    lua_pushvalue(L, RESULTS);
    return 1;
  }
  op_t *op = pg_query_start(c, o.atomic ? PG_QUERY_ATOMIC : PG_QUERY_PIPELINE, statements, count, o.mutates);
  return async_wait_in_parts(L, a, operation_made(L, op), o.timeout, lconnection_pipeline_take,
                             lconnection_pipeline_finish);
}

static void push_identifier(lua_State *L, const char *text, size_t length) {
  luaL_Buffer b;
  char *out = luaL_buffinitsize(L, &b, 2 * length + 4);
  luaL_pushresultsize(&b, pg_quote_identifier(out, text, length));
}

static int lconnection_listen_finish(lua_State *L, op_t *op) {
  lconnection_query_finish(L, op);
  return 0;
}

static int lconnection_listen(lua_State *L) {
  pg_connection_t *c = check_connection(L);
  const char *channel = argument_name(L, 2);
  size_t length = strlen(channel);
  luaL_argcheck(L, length < 64, 2, "a channel's name has at most 63 bytes");
  lua_settop(L, 2);
  lua_pushliteral(L, "listen ");
  push_identifier(L, channel, length);
  lua_concat(L, 2);
  pg_statement_t statement = {lua_tostring(L, 3), 0, NULL};
  async_t *a = async_begin(L, "pg.listen");
  require_ready(L, c, "pg.listen");
  op_t *op = pg_query_start(c, PG_QUERY_ONE, &statement, 1, false);
  return async_wait(L, a, operation_made(L, op), QUERY_TIMEOUT, lconnection_listen_finish);
}

static int lconnection_notification_finish(lua_State *L, op_t *op) {
  const pg_notification_t *n = pg_notification_first(check_connection(L));
  lua_createtable(L, 0, 4);
  lua_pushstring(L, n->channel);
  lua_setfield(L, -2, "channel");
  lua_pushstring(L, n->payload);
  lua_setfield(L, -2, "payload");
  lua_pushinteger(L, n->pid);
  lua_setfield(L, -2, "pid");
  lua_pushnumber(L, (double)n->at / 1e9);
  lua_setfield(L, -2, "at");
  pg_notification_drop(check_connection(L));
  return 1;
}

static int lconnection_notification(lua_State *L) {
  pg_connection_t *c = check_connection(L);
  double seconds = luaL_optnumber(L, 2, 0);
  luaL_argcheck(L, lua_isnoneornil(L, 2) || seconds >= 0, 2, "a time in seconds, not negative");
  if (!lua_isnoneornil(L, 2) && seconds < 1e-6)
    seconds = 1e-6; /* one look at the socket; 0 would be no limit */
  lua_settop(L, 2);
  async_t *a = async_begin(L, "pg.notification");
  luaL_argcheck(L, !pg_connection_has_listener(c), 1,
                "another task waits for this connection's notifications");
  if (!pg_connection_is_open(c) && !pg_notification_first(c))
    return failure_raise(L, pg_connection_what_happened(c), "pg.notification");
  op_t *op = pg_listen_start(c);
  return async_wait_or_nil(L, a, operation_made(L, op), seconds, lconnection_notification_finish);
}

static int lconnection_is_open(lua_State *L) {
  lua_pushboolean(L, pg_connection_is_open(check_connection(L)));
  return 1;
}

static int lconnection_close(lua_State *L) {
  pg_connection_close(check_connection(L));
  return 0;
}

static int lconnection_gc(lua_State *L) {
  handle_t *h = luaL_checkudata(L, 1, CONNECTION_METATABLE);
  pg_connection_t *c = h->connection;
  h->connection = NULL;
  if (c && pg_connection_is_open(c))
    log_write(&runtime_of(L)->log, LOG_WARN, "%sthe connection to %s made here was never closed", h->made_at,
              pg_connection_where(c));
  pg_connection_free(c);
  return 0;
}

static int lconnection_tostring(lua_State *L) {
  pg_connection_t *c = check_connection(L);
  lua_pushfstring(L, "pg.Connection (%s%s)", pg_connection_where(c),
                  pg_connection_is_open(c) ? "" : ", closed");
  return 1;
}

/* Methods are in the upvalue; the rest is asked of the connection. */
static int lconnection_index(lua_State *L) {
  pg_connection_t *c = check_connection(L);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(name, "host") == 0)
    lua_pushstring(L, pg_connection_host(c));
  else if (strcmp(name, "port") == 0)
    lua_pushstring(L, pg_connection_port(c));
  else if (strcmp(name, "pid") == 0)
    lua_pushinteger(L, pg_connection_pid(c));
  else if (strcmp(name, "server_version") == 0)
    lua_pushinteger(L, pg_connection_server_version(c));
  else if (strcmp(name, "encrypted") == 0)
    lua_pushboolean(L, pg_connection_is_encrypted(c));
  else
    lua_pushnil(L);
  return 1;
}

/* --- text without a connection
 * --------------------------------------------------------------------------- */

static int lpg_quote_ident(lua_State *L) {
  const char *text = argument_text(L, 1);
  push_identifier(L, text, strlen(text));
  return 1;
}

static int lpg_quote_literal(lua_State *L) {
  const char *text = argument_text(L, 1);
  size_t length = strlen(text);
  luaL_Buffer b;
  char *out = luaL_buffinitsize(L, &b, 2 * length + 4);
  luaL_pushresultsize(&b, pg_quote_literal(out, text, length));
  return 1;
}

static int lpg_scram_verifier(lua_State *L) {
  size_t length;
  const char *password = luaL_checklstring(L, 1, &length);
  char verifier[PG_SCRAM_VERIFIER_SIZE];
  failure_t f = {0};
  if (!pg_scram_verifier(verifier, password, length, &f)) return failure_raise(L, &f, "pg.scram_verifier");
  lua_pushstring(L, verifier);
  return 1;
}

static int lpg_parse_conninfo(lua_State *L) {
  failure_t f = {0};
  const char *text = argument_text(L, 1);
  conninfo_box_t *box = push_conninfo(L);
  if (!pg_conninfo_parse(box->info, text, &f)) return failure_raise(L, &f, "pg.parse_conninfo");
  lua_newtable(L);
  for (size_t i = 0; i < box->info->count; i++) {
    lua_pushstring(L, box->info->values[i]);
    lua_setfield(L, -2, box->info->keywords[i]);
  }
  return 1;
}

static void make_connection_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"close", lconnection_close},       {"exec", lconnection_exec},
      {"is_open", lconnection_is_open},   {"listen", lconnection_listen},
      {"pipeline", lconnection_pipeline}, {"notification", lconnection_notification},
      {"query", lconnection_query},       {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {
      {"__close", lconnection_close},
      {"__gc", lconnection_gc},
      {"__tostring", lconnection_tostring},
      {NULL, NULL},
  };
  luaL_newmetatable(L, CONNECTION_METATABLE);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, lconnection_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

int luaopen_pgafrun_pg(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"connect", lpg_connect},
      {"parse_conninfo", lpg_parse_conninfo},
      {"quote_ident", lpg_quote_ident},
      {"quote_literal", lpg_quote_literal},
      {"scram_verifier", lpg_scram_verifier},
      {NULL, NULL},
  };
  make_connection_metatable(L);
  luaL_newlib(L, functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  return 1;
}
