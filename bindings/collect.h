/* collect.h - userdata that own memory of the C heap. */
#ifndef PGAFRUN_COLLECT_H
#define PGAFRUN_COLLECT_H

#include <lua.h>

/* Lets gc be called when the userdata on top is collected. metatable: its name, the same function's always. What the
 * userdata owns comes after this call, which may raise. */
void collect_by(lua_State *L, const char *metatable, lua_CFunction gc);

#endif
