#include "register.h"

#include <lauxlib.h>

#include "modules.h"

static const luaL_Reg modules[] = {
    {"pgafrun.error", luaopen_pgafrun_error},
    {"pgafrun.log", luaopen_pgafrun_log},
    {"pgafrun.task", luaopen_pgafrun_task},
    {"pgafrun.time", luaopen_pgafrun_time},
    {NULL, NULL},
};

void bindings_register(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_setfuncs(L, modules, 0);
  lua_pop(L, 1);
}
