/* beside.h - what runs beside a script and sees it from outside: services, and the interludes in which a task stands still
 * while a person looks at it. docs/meta/task.lua has the contract. */
#ifndef PGAFRUN_BESIDE_H
#define PGAFRUN_BESIDE_H

#include <lua.h>

int beside_service(lua_State *L);
int beside_interlude(lua_State *L);
int beside_patience(lua_State *L);
int beside_abort(lua_State *L);
int beside_on_failure(lua_State *L);

/* For message handlers: tells the error at index 1, whose stack still stands, to who asked for it by task.on_failure. */
void beside_tell_failure(lua_State *L);

/* Makes the global `breakpoint`. */
void beside_register(lua_State *L);

#endif
