/* json.h - what other bindings share with JSON: null, and the mark of an array. */
#ifndef PGAFRUN_JSON_H
#define PGAFRUN_JSON_H

#include <lua.h>

/* Pushes json.null, the light userdata NULL. */
void json_push_null(lua_State *L);

/* Pushes json.array, the metatable that marks a table as an array. */
void json_push_array_mark(lua_State *L);

/* json.encode(value, options). */
int json_encode(lua_State *L);

#endif
