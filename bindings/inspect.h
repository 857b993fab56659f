/* inspect.h - what runs and what is open, as plain tables; docs/meta/task.lua has the contract. */
#ifndef PGAFRUN_INSPECT_H
#define PGAFRUN_INSPECT_H

#include <lua.h>

int inspect_tree(lua_State *L);
int inspect_handles(lua_State *L);

#endif
