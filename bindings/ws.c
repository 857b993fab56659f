/* ws.c - websockets; docs/meta/ws.lua has the interface. */
#include "runtime/ws.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "http_options.h"
#include "modules.h"

#define SOCKET_METATABLE "pgafrun.ws.Socket"
#define TIMEOUT 10.0
#define TIMEOUT_MIN 0.001
#define TIMEOUT_MAX 1e6
#define MAX_BYTES ((lua_Integer)256 << 20)

typedef struct handle {
  ws_t *ws; /* NULL after close */
  char made_at[100];
} handle_t;

/* --- connecting ------------------------------------------------------------------------------------------ */

static int lws_connect_finish(lua_State *L, op_t *op) {
  handle_t *h = lua_newuserdatauv(L, sizeof *h, 0);
  memset(h, 0, sizeof *h);
  luaL_setmetatable(L, SOCKET_METATABLE);
  luaL_where(L, 1);
  strncat(h->made_at, lua_tostring(L, -1), sizeof h->made_at - 1);
  lua_pop(L, 1);
  h->ws = ws_connected(op);
  return 1;
}

static int lws_connect(lua_State *L) {
  static const char *const names[] = {"url", "unix_socket", "tls", "headers", "timeout", "max_bytes", NULL};
  ws_options_t o = {0};
  bool secure;
  lua_settop(L, 1);
  stack_reserve(L, 20, NULL);
  arguments_check(L, 1, false, false, names);
  o.url = http_options_url(L, 1, "ws", "wss", &secure);
  o.unix_socket = arguments_text(L, 1, "unix_socket");
  o.headers = http_options_headers(L, 1, &o.header_count);
  o.tls = http_options_tls(L, 1, secure, o.unix_socket);
  o.timeout = arguments_number(L, 1, "timeout", TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX);
  o.max_bytes = (size_t)arguments_integer(L, 1, "max_bytes", MAX_BYTES, 1, PTRDIFF_MAX / 2);
  async_t *a = async_begin(L, "ws.connect");
  op_t *op = ws_connect(runtime_of(L), &o);
  return async_wait(L, a, operation_made(L, op), 0, lws_connect_finish);
}

/* --- the socket's methods -------------------------------------------------------------------------------- */

static ws_t *check_open(lua_State *L, const char *operation) {
  handle_t *h = luaL_checkudata(L, 1, SOCKET_METATABLE);
  if (!h->ws) {
    failure_t f = {0};
    failure_set(&f, "closed", NULL, "the websocket made at %swas closed before", h->made_at);
    failure_raise(L, &f, operation);
  }
  return h->ws;
}

static int lsocket_recv_finish(lua_State *L, op_t *op) {
  const char *data;
  size_t size;
  const char *type = ws_peek(op, &data, &size);
  if (data)
    lua_pushlstring(L, data, size);
  else
    lua_pushnil(L);
  lua_pushstring(L, type);
  ws_drop(op); /* last: if Lua had no memory for the message, it is still there */
  return 2;
}

/* A limit of 0 means "only what is there already"; the waiting itself takes 0 for "no limit". */
static double optional_seconds(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return 0;
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "a time in seconds, not negative");
  return seconds > 0 ? seconds : 1e-9;
}

static int lsocket_recv(lua_State *L) {
  ws_t *ws = check_open(L, "ws.recv");
  double seconds = optional_seconds(L, 2);
  luaL_argcheck(L, !ws_has_reader(ws), 1, "another task is already reading from this websocket");
  async_t *a = async_begin(L, "ws.recv");
  op_t *op = ws_recv(ws);
  return async_wait(L, a, operation_made(L, op), seconds, lsocket_recv_finish);
}

static int lsocket_send_finish(lua_State *L, op_t *op) { return 0; }

static int lsocket_send(lua_State *L) {
  static const char *const types[] = {"binary", "text", NULL};
  size_t size;
  ws_t *ws = check_open(L, "ws.send");
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *message = lua_tolstring(L, 2, &size);
  bool text = luaL_checkoption(L, 3, "binary", types) == 1;
  async_t *a = async_begin(L, "ws.send");
  op_t *op = ws_send(ws, message, size, text);
  return async_wait(L, a, operation_made(L, op), 0, lsocket_send_finish);
}

static int lsocket_wait_ping_finish(lua_State *L, op_t *op) {
  lua_pushboolean(L, true);
  return 1;
}

static int lsocket_wait_ping(lua_State *L) {
  ws_t *ws = check_open(L, "ws.wait_ping");
  luaL_checknumber(L, 2);
  double seconds = optional_seconds(L, 2);
  async_t *a = async_begin(L, "ws.wait_ping");
  op_t *op = ws_wait_ping(ws);
  return async_wait_or_nil(L, a, operation_made(L, op), seconds, lsocket_wait_ping_finish);
}

static int lsocket_close(lua_State *L) {
  handle_t *h = luaL_checkudata(L, 1, SOCKET_METATABLE);
  ws_t *ws = h->ws;
  h->ws = NULL;
  if (ws) ws_close(ws);
  return 0;
}

static int lsocket_gc(lua_State *L) {
  handle_t *h = luaL_checkudata(L, 1, SOCKET_METATABLE);
  if (h->ws)
    log_write(&runtime_of(L)->log, LOG_WARN, "%sthe websocket made here was never closed", h->made_at);
  return lsocket_close(L);
}

static int lsocket_tostring(lua_State *L) {
  handle_t *h = luaL_checkudata(L, 1, SOCKET_METATABLE);
  lua_pushfstring(L, "ws.Socket (%s)", h->ws ? "open" : "closed");
  return 1;
}

int luaopen_pgafrun_ws(lua_State *L) {
  static const luaL_Reg functions[] = {{"connect", lws_connect}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"close", lsocket_close},
                                     {"recv", lsocket_recv},
                                     {"send", lsocket_send},
                                     {"wait_ping", lsocket_wait_ping},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__close", lsocket_close}, {"__gc", lsocket_gc}, {"__tostring", lsocket_tostring}, {NULL, NULL}};
  luaL_newmetatable(L, SOCKET_METATABLE);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  luaL_newlib(L, functions);
  return 1;
}
