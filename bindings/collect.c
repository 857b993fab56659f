#include "collect.h"

#include <lauxlib.h>

void collect_by(lua_State *L, const char *metatable, lua_CFunction gc) {
  if (luaL_getmetatable(L, metatable) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushvalue(L, -1);
    /* last, unlike luaL_newmetatable: one that memory did not suffice for would collect nothing ever after */
    lua_setfield(L, LUA_REGISTRYINDEX, metatable);
  }
  lua_setmetatable(L, -2);
}
