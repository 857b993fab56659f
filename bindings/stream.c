/* stream.c - connections over unix sockets. */
#include "stream.h"

#include <limits.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "runtime/stream.h"

#define LISTENER_METATABLE "pgafrun.net.Listener"
#define CONNECTION_METATABLE "pgafrun.net.Connection"

typedef struct listener_handle {
  listener_t *listener; /* NULL after close */
} listener_handle_t;

typedef struct connection_handle {
  stream_t *stream; /* NULL after close */
} connection_handle_t;

static int raise_closed(lua_State *L, const char *what, const char *operation) {
  failure_t f = {0};
  failure_set(&f, "closed", "closed", "%s has been closed", what);
  return failure_raise(L, &f, operation);
}

/* --- connections ----------------------------------------------------------------------------------------- */

static int made_finish(lua_State *L, op_t *op) {
  connection_handle_t *h = lua_newuserdatauv(L, sizeof *h, 0);
  h->stream = NULL;
  luaL_setmetatable(L, CONNECTION_METATABLE);
  h->stream = stream_made(op);
  return 1;
}

int stream_lua_connect(lua_State *L) {
  const char *path = argument_name(L, 1);
  async_t *a = async_begin(L, "net.connect");
  op_t *op = stream_connect(&runtime_of(L)->loop, path);
  return async_wait(L, a, operation_made(L, op), 0, made_finish);
}

static stream_t *check_connection(lua_State *L, const char *operation) {
  const connection_handle_t *h = luaL_checkudata(L, 1, CONNECTION_METATABLE);
  if (!h->stream) raise_closed(L, "the connection", operation);
  return h->stream;
}

static int read_finish(lua_State *L, op_t *op) {
  size_t size;
  const char *bytes = stream_bytes(op, &size);
  if (size) {
    lua_pushlstring(L, bytes, size);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int lconnection_read(lua_State *L) {
  stream_t *stream = check_connection(L, "connection:read");
  async_t *a = async_begin(L, "connection:read");
  return async_wait(L, a, operation_made(L, stream_read(stream)), 0, read_finish);
}

static int write_finish(lua_State *L, op_t *op) { return 0; }

static int lconnection_write(lua_State *L) {
  stream_t *stream = check_connection(L, "connection:write");
  size_t size;
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *text = lua_tolstring(L, 2, &size);
  luaL_argcheck(L, size <= INT_MAX, 2, "too long");
  if (!size) return 0;
  async_t *a = async_begin(L, "connection:write");
  return async_wait(L, a, operation_made(L, stream_write(stream, text, size)), 0, write_finish);
}

static int lconnection_peer(lua_State *L) {
  stream_peer_t peer;
  failure_t f = {0};
  if (!stream_peer(check_connection(L, "connection:peer"), &peer, &f))
    return failure_raise(L, &f, "connection:peer");
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, peer.pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, peer.uid);
  lua_setfield(L, -2, "uid");
  lua_pushinteger(L, peer.gid);
  lua_setfield(L, -2, "gid");
  return 1;
}

static int lconnection_close(lua_State *L) {
  connection_handle_t *h = luaL_checkudata(L, 1, CONNECTION_METATABLE);
  stream_t *stream = h->stream;
  h->stream = NULL;
  if (stream) stream_close(stream);
  return 0;
}

/* --- listening ------------------------------------------------------------------------------------------- */

int stream_lua_listen(lua_State *L) {
  static const char *const names[] = {"background", NULL};
  lua_settop(L, 2);
  const char *path = argument_name(L, 1);
  arguments_check(L, 2, true, false, names);
  bool background = arguments_boolean(L, 2, "background", false);
  listener_handle_t *h = lua_newuserdatauv(L, sizeof *h, 0);
  h->listener = NULL;
  luaL_setmetatable(L, LISTENER_METATABLE);
  failure_t f = {0};
  h->listener = listener_open(&runtime_of(L)->loop, path, background, &f);
  return h->listener ? 1 : failure_raise(L, &f, "net.listen");
}

static int llistener_accept(lua_State *L) {
  const listener_handle_t *h = luaL_checkudata(L, 1, LISTENER_METATABLE);
  if (!h->listener) raise_closed(L, "the listener", "listener:accept");
  async_t *a = async_begin(L, "listener:accept");
  return async_wait(L, a, operation_made(L, listener_accept(h->listener)), 0, made_finish);
}

static int llistener_close(lua_State *L) {
  listener_handle_t *h = luaL_checkudata(L, 1, LISTENER_METATABLE);
  listener_t *listener = h->listener;
  h->listener = NULL;
  if (listener) listener_close(listener);
  return 0;
}

static void register_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction close) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_createtable(L, 0, 4);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void stream_register(lua_State *L) {
  static const luaL_Reg listener_methods[] = {{"accept", llistener_accept},
                                              {"close", llistener_close},
                                              {NULL, NULL}};
  static const luaL_Reg connection_methods[] = {{"read", lconnection_read},
                                                {"write", lconnection_write},
                                                {"peer", lconnection_peer},
                                                {"close", lconnection_close},
                                                {NULL, NULL}};
  register_class(L, LISTENER_METATABLE, listener_methods, llistener_close);
  register_class(L, CONNECTION_METATABLE, connection_methods, lconnection_close);
}
