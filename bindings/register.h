/* register.h - every C module that Lua can require, in one table. */
#ifndef PGAFRUN_REGISTER_H
#define PGAFRUN_REGISTER_H

#include <lua.h>

/* Puts all modules into package.preload. */
void bindings_register(lua_State *L);

#endif
