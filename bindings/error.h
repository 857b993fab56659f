/* error.h - the structured error as Lua sees it; docs/meta/error.lua has its fields. */
#ifndef PGAFRUN_ERROR_H
#define PGAFRUN_ERROR_H

#include "runtime/task.h"

#define ERROR_METATABLE "pgafrun.Error"

/* Raises kind "timeout" (code "deadline") or "cancelled" for the interrupted wait of t, by t->cause. */
int error_raise_interrupt(lua_State *L, const task_t *t, const char *operation, bool outcome_unknown);

/* Message handler at each task's base: makes a plain string structured (kind "script") and adds a traceback. */
int error_handler(lua_State *L);

/* Is the value at index a structured error? */
bool error_test(lua_State *L, int index);

/* Pushes "file:line" of the nearest function on the stack of `of`, from level on, that is not the standard library's:
 * the line a person can change. Falls back on the nearest one; nil when there is none. */
void error_push_where(lua_State *L, lua_State *of, int level);

#endif
