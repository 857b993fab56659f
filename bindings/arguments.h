/* arguments.h - arguments, and options in a table, checked: a misspelt or ill-typed one is an argument error that says what
 * is allowed. Every function raises; so all is read before an operation is made.
 */
#ifndef PGAFRUN_ARGUMENTS_H
#define PGAFRUN_ARGUMENTS_H

#include <stdbool.h>

#include <lua.h>

#include "runtime/op.h"

/* The argument must be a table, or may be nil or none when optional, for which an empty table takes its place at index
 * (which must be the top of the stack or below). names: what it may contain, ending with NULL; integer keys are allowed
 * only with list. */
void arguments_check(lua_State *L, int index, bool optional, bool list, const char *const names[]);

/* Each returns fallback when the option is absent. Numbers outside min..max are errors. */
lua_Integer arguments_integer(lua_State *L, int index, const char *name, lua_Integer fallback,
                              lua_Integer min, lua_Integer max);
double arguments_number(lua_State *L, int index, const char *name, double fallback, double min, double max);
bool arguments_boolean(lua_State *L, int index, const char *name, bool fallback);

/* Leaves the value on the stack, which keeps the text alive; NULL when absent. Refuses a zero byte, which C would take for
 * the end. */
const char *arguments_text(lua_State *L, int index, const char *name);

/* An argument that is text without a zero byte. */
const char *argument_text(lua_State *L, int index);

/* As argument_text, and not empty: a path, or a name. */
const char *argument_name(lua_State *L, int index);

/* As luaL_checkstack, but tells a lack of memory from a stack that is too large; what may be NULL. */
void stack_reserve(lua_State *L, int slots, const char *what);

/* Returns op, or raises when there was no memory for it. */
op_t *operation_made(lua_State *L, op_t *op);

#endif
