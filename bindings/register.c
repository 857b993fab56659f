#include "register.h"

#include <lauxlib.h>

#include "beside.h"
#include "modules.h"

static const luaL_Reg modules[] = {
    {"pgafrun.crypto", luaopen_pgafrun_crypto}, /* one a line */
    {"pgafrun.error", luaopen_pgafrun_error},
    {"pgafrun.fs", luaopen_pgafrun_fs},
    {"pgafrun.http", luaopen_pgafrun_http},
    {"pgafrun.json", luaopen_pgafrun_json},
    {"pgafrun.line", luaopen_pgafrun_line},
    {"pgafrun.log", luaopen_pgafrun_log},
    {"pgafrun.mask", luaopen_pgafrun_mask},
    {"pgafrun.net", luaopen_pgafrun_net},
    {"pgafrun.pg", luaopen_pgafrun_pg},
    {"pgafrun.process", luaopen_pgafrun_process},
    {"pgafrun.scram", luaopen_pgafrun_scram},
    {"pgafrun.task", luaopen_pgafrun_task},
    {"pgafrun.time", luaopen_pgafrun_time},
    {"pgafrun.tty", luaopen_pgafrun_tty},
    {"pgafrun.ws", luaopen_pgafrun_ws},
    {"pgafrun.yaml", luaopen_pgafrun_yaml},
    {NULL, NULL},
};

void bindings_register(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_setfuncs(L, modules, 0);
  lua_pop(L, 1);
  beside_register(L);
}
