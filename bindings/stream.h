/* stream.h - net.listen, net.connect and the handles they make; docs/meta/net.lua has the contract. */
#ifndef PGAFRUN_BINDINGS_STREAM_H
#define PGAFRUN_BINDINGS_STREAM_H

#include <lua.h>

int stream_lua_listen(lua_State *L);
int stream_lua_connect(lua_State *L);
/* Makes the metatables. */
void stream_register(lua_State *L);

#endif
