/* modules.h - the openers of the C modules, one line a noun; register.c lists them. */
#ifndef PGAFRUN_MODULES_H
#define PGAFRUN_MODULES_H

#include <lua.h>

int luaopen_pgafrun_error(lua_State *L);
int luaopen_pgafrun_log(lua_State *L);
int luaopen_pgafrun_task(lua_State *L);
int luaopen_pgafrun_time(lua_State *L);

#endif
