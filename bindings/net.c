/* net.c - names and reachability (stream.c has the unix sockets); docs/meta/net.lua has the interface. */
#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "modules.h"
#include "runtime/net.h"
#include "stream.h"

static int lnet_probe_finish(lua_State *L, op_t *op) {
  const char *refusal = net_probe_refusal(op);
  lua_pushboolean(L, !refusal);
  lua_pushstring(L, refusal); /* nil without one */
  return 2;
}

static int lnet_probe(lua_State *L) {
  const char *address = argument_name(L, 1);
  lua_Integer port = luaL_checkinteger(L, 2);
  luaL_argcheck(L, port > 0 && port < 65536, 2, "not a port");
  double seconds = luaL_checknumber(L, 3);
  luaL_argcheck(L, seconds > 0 && seconds < 1e8, 3, "a time in seconds, more than 0");
  async_t *a = async_begin(L, "net.probe");
  op_t *op = net_probe(&runtime_of(L)->loop, address, (uint16_t)port, (uint64_t)(seconds * 1e3) + 1);
  return async_wait(L, a, operation_made(L, op), 0, lnet_probe_finish);
}

static int lnet_resolve_finish(lua_State *L, op_t *op) {
  lua_newtable(L);
  const char *address;
  for (size_t i = 0; (address = net_resolved(op, i)); i++) {
    lua_pushstring(L, address);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int lnet_resolve(lua_State *L) {
  const char *name = argument_name(L, 1);
  async_t *a = async_begin(L, "net.resolve");
  op_t *op = net_resolve(&runtime_of(L)->loop, name);
  return async_wait(L, a, operation_made(L, op), 0, lnet_resolve_finish);
}

int luaopen_pgafrun_net(lua_State *L) {
  static const luaL_Reg functions[] = {{"connect", stream_lua_connect},
                                       {"listen", stream_lua_listen},
                                       {"probe", lnet_probe},
                                       {"resolve", lnet_resolve},
                                       {NULL, NULL}};
  stream_register(L);
  luaL_newlib(L, functions);
  return 1;
}
