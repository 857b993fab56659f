/* group.h - task groups as Lua sees them; docs/meta/task.lua has the contract. */
#ifndef PGAFRUN_GROUP_H
#define PGAFRUN_GROUP_H

#include <stdint.h>

#include <lua.h>

#include "runtime/task.h"

/* task.group{ deadline = seconds } */
int group_new(lua_State *L);
/* Pushes the name that the group of this scope was given; nil without one, and for what is no group. */
void group_push_name(lua_State *L, const scope_t *s);
/* Makes the metatable. */
void group_register(lua_State *L);

/* Seconds at index as nanoseconds; `missing` when there are none. */
uint64_t task_seconds(lua_State *L, int index, uint64_t missing);

#endif
