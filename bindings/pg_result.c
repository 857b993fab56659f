#include <stdlib.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "pg.h"

/* pg_type's own numbers, which never change. */
enum {
  OID_BOOL = 16,
  OID_INT8 = 20,
  OID_INT2 = 21,
  OID_INT4 = 23,
  OID_OID = 26,
  OID_FLOAT4 = 700,
  OID_FLOAT8 = 701,
};

static void push_value(lua_State *L, const PGresult *r, int row, int column) {
  const char *text = PQgetvalue(r, row, column);
  switch (PQftype(r, column)) {
  case OID_BOOL: lua_pushboolean(L, *text == 't'); break;
  case OID_INT8:
  case OID_INT2:
  case OID_INT4:
  case OID_OID: lua_pushinteger(L, strtoll(text, NULL, 10)); break;
  case OID_FLOAT4:
  case OID_FLOAT8: lua_pushnumber(L, strtod(text, NULL)); break;
  default: lua_pushlstring(L, text, (size_t)PQgetlength(r, row, column));
  }
}

/* The names stay on the stack from index names on: a name is looked up once, not once a row. */
static void push_rows(lua_State *L, const PGresult *r, int names) {
  int rows = PQntuples(r), columns = PQnfields(r);
  lua_createtable(L, rows, 0);
  for (int row = 0; row < rows; row++) {
    lua_createtable(L, 0, columns);
    for (int column = 0; column < columns; column++) {
      if (PQgetisnull(r, row, column)) continue;
      lua_pushvalue(L, names + column);
      push_value(L, r, row, column);
      lua_rawset(L, -3);
    }
    lua_rawseti(L, -2, row + 1);
  }
}

static void push_notices(lua_State *L, const op_t *op, size_t statement) {
  lua_Integer n = 0;
  for (const pg_notice_t *notice = pg_query_notices(op); notice; notice = notice->next) {
    if (notice->statement != statement) continue;
    if (n == 0) lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, notice->severity);
    lua_setfield(L, -2, "severity");
    lua_pushstring(L, notice->code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, notice->message);
    lua_setfield(L, -2, "message");
    lua_rawseti(L, -2, ++n);
  }
  if (n > 0) lua_setfield(L, -2, "notices");
}

void pg_push_result(lua_State *L, const op_t *op, size_t i) {
  PGresult *r = (PGresult *)pg_query_result(op, i); /* libpq asks for what it does not change */
  int columns = PQnfields(r);
  stack_reserve(L, columns + 10, "too many columns");
  lua_createtable(L, 0, 4);
  int result = lua_gettop(L);
  lua_createtable(L, columns, 0);
  for (int column = 0; column < columns; column++) {
    lua_pushstring(L, PQfname(r, column));
    lua_pushvalue(L, -1);
    lua_rawseti(L, result + 1, column + 1);
  }
  push_rows(L, r, result + 2);
  lua_setfield(L, result, "rows");
  lua_settop(L, result + 1);
  lua_setfield(L, result, "fields");
  const char *affected = PQcmdTuples(r);
  lua_pushinteger(L, *affected ? strtoll(affected, NULL, 10) : PQntuples(r));
  lua_setfield(L, result, "count");
  lua_pushstring(L, PQcmdStatus(r));
  lua_setfield(L, result, "command");
  push_notices(L, op, i);
}

static void set_field(lua_State *L, const PGresult *r, const char *name, int code) {
  const char *text = PQresultErrorField(r, code);
  if (!text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

void pg_push_failure(lua_State *L, const op_t *op, size_t i, const failure_t *f) {
  const PGresult *r = pg_query_result(op, i);
  failure_push(L, f, op->class->name, 1);
  if (!r || !PQresultErrorField(r, PG_DIAG_SQLSTATE)) return;
  set_field(L, r, "severity", PG_DIAG_SEVERITY_NONLOCALIZED);
  set_field(L, r, "primary", PG_DIAG_MESSAGE_PRIMARY);
  set_field(L, r, "detail", PG_DIAG_MESSAGE_DETAIL);
  set_field(L, r, "hint", PG_DIAG_MESSAGE_HINT);
  set_field(L, r, "schema", PG_DIAG_SCHEMA_NAME);
  set_field(L, r, "table", PG_DIAG_TABLE_NAME);
  set_field(L, r, "constraint", PG_DIAG_CONSTRAINT_NAME);
  const char *position = PQresultErrorField(r, PG_DIAG_STATEMENT_POSITION);
  if (!position) return;
  lua_pushinteger(L, strtoll(position, NULL, 10));
  lua_setfield(L, -2, "position");
}
