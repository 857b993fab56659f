/* pg.h - what the files of the PostgreSQL binding share.
 *
 *   pg.c             the module, connecting, the connection's methods
 *   pg_statement.c   Lua values -> statements with parameters
 *   pg_result.c      results and errors -> Lua values
 */
#ifndef PGAFRUN_BINDINGS_PG_H
#define PGAFRUN_BINDINGS_PG_H

#include <lua.h>

#include "runtime/pg.h"

/* Pushes userdata that hold one statement: its text at index sql, its parameters in the table (or nil) at
 * index parameters. argument is the argument's number for errors. Valid while what was pushed and both
 * arguments stay. */
pg_statement_t *pg_push_statement(lua_State *L, int sql, int parameters, int argument);
/* The same for a list of { sql, parameters } at index list; *count of them. */
pg_statement_t *pg_push_statements(lua_State *L, int list, size_t *count);

/* Pushes the Result of statement i. */
void pg_push_result(lua_State *L, const op_t *op, size_t i);
/* Pushes f, of statement i, as a structured error with what else the server said. */
void pg_push_failure(lua_State *L, const op_t *op, size_t i, const failure_t *f);

#endif
