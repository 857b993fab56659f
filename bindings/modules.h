/* modules.h - the openers of the C modules, one line a noun; register.c lists them. */
#ifndef PGAFRUN_MODULES_H
#define PGAFRUN_MODULES_H

#include <lua.h>

int luaopen_pgafrun_crypto(lua_State *L);
int luaopen_pgafrun_error(lua_State *L);
int luaopen_pgafrun_fs(lua_State *L);
int luaopen_pgafrun_http(lua_State *L);
int luaopen_pgafrun_json(lua_State *L);
int luaopen_pgafrun_line(lua_State *L);
int luaopen_pgafrun_log(lua_State *L);
int luaopen_pgafrun_mask(lua_State *L);
int luaopen_pgafrun_net(lua_State *L);
int luaopen_pgafrun_pg(lua_State *L);
int luaopen_pgafrun_process(lua_State *L);
int luaopen_pgafrun_scram(lua_State *L);
int luaopen_pgafrun_task(lua_State *L);
int luaopen_pgafrun_time(lua_State *L);
int luaopen_pgafrun_tty(lua_State *L);
int luaopen_pgafrun_ws(lua_State *L);
int luaopen_pgafrun_yaml(lua_State *L);

#endif
