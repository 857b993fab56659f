/* tty_raw.h - the part of pgafrun.tty that takes the whole terminal. */
#ifndef PGAFRUN_BINDINGS_TTY_RAW_H
#define PGAFRUN_BINDINGS_TTY_RAW_H

#include <lua.h>

/* tty.raw(options), as docs/meta/tty.lua tells. */
int ltty_raw(lua_State *L);

/* Makes the metatable of what it returns. */
void tty_raw_register(lua_State *L);

#endif
