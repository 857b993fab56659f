/* http.c - HTTP requests; docs/meta/http.lua has the interface. */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "http_options.h"
#include "modules.h"

#define TIMEOUT 60.0
#define CONNECT_TIMEOUT 10.0
#define TIMEOUT_MIN 0.001
#define TIMEOUT_MAX 1e6
#define MAX_BYTES ((lua_Integer)64 << 20)

/* Repeated headers are one, their values joined by a comma (RFC 9110 section 5.2). */
static void push_headers(lua_State *L, const http_response_t *r) {
  lua_newtable(L);
  for (const char *name = r->headers, *end = name + r->headers_size; name < end;) {
    const char *value = name + strlen(name) + 1;
    if (lua_getfield(L, -1, name) == LUA_TNIL)
      lua_pushstring(L, value);
    else
      lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), value);
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
    name = value + strlen(value) + 1;
  }
}

static int lhttp_request_finish(lua_State *L, op_t *op) {
  const http_response_t *r = http_response(op);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, r->status);
  lua_setfield(L, -2, "status");
  push_headers(L, r);
  lua_setfield(L, -2, "headers");
  lua_pushlstring(L, r->body, r->body_size);
  lua_setfield(L, -2, "body");
  lua_pushnumber(L, r->seconds);
  lua_setfield(L, -2, "seconds");
  return 1;
}

static void read_body(lua_State *L, http_options_t *o) {
  int type = lua_getfield(L, 1, "body");
  if (type == LUA_TNIL) return;
  if (type != LUA_TSTRING) luaL_argerror(L, 1, "option 'body' must be a string");
  o->body = lua_tolstring(L, -1, &o->body_size);
  if (!o->body_size) return;
  for (size_t i = 0; i < o->header_count; i++)
    if (strcasecmp(o->headers[i].name, "Content-Type") == 0) return;
  luaL_argerror(L, 1, "option 'headers' must name the Content-Type of the body");
}

static http_options_t read_options(lua_State *L) {
  static const char *const names[] = {"url",         "method",  "headers", "body",
                                      "unix_socket", "tls",     "timeout", "connect_timeout",
                                      "max_bytes",   "mutates", "http1",   NULL};
  http_options_t o = {0};
  bool secure;
  lua_settop(L, 1);
  stack_reserve(L, 20, NULL);
  arguments_check(L, 1, false, false, names);
  o.url = http_options_url(L, 1, "http", "https", &secure);
  o.method = arguments_text(L, 1, "method");
  if (!o.method) o.method = "GET";
  if (!http_options_is_token(o.method)) luaL_argerror(L, 1, "option 'method' must be a word");
  o.unix_socket = arguments_text(L, 1, "unix_socket");
  o.headers = http_options_headers(L, 1, &o.header_count);
  read_body(L, &o);
  o.tls = http_options_tls(L, 1, secure, o.unix_socket);
  o.timeout = arguments_number(L, 1, "timeout", TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX);
  o.connect_timeout = arguments_number(L, 1, "connect_timeout", CONNECT_TIMEOUT, TIMEOUT_MIN, TIMEOUT_MAX);
  o.max_bytes = (size_t)arguments_integer(L, 1, "max_bytes", MAX_BYTES, 0, PTRDIFF_MAX / 2);
  bool reads = strcmp(o.method, "GET") == 0 || strcmp(o.method, "HEAD") == 0;
  o.mutates = arguments_boolean(L, 1, "mutates", !reads);
  o.http1 = arguments_boolean(L, 1, "http1", false);
  return o;
}

static int lhttp_request(lua_State *L) {
  http_options_t o = read_options(L);
  async_t *a = async_begin(L, "http.request");
  op_t *op = http_start(runtime_of(L), &o);
  return async_wait(L, a, operation_made(L, op), 0, lhttp_request_finish);
}

static int lhttp_escape(lua_State *L) {
  static const char hex[] = "0123456789ABCDEF";
  size_t size;
  const unsigned char *text = (const unsigned char *)luaL_checklstring(L, 1, &size);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < size; i++) {
    unsigned char c = text[i];
    if ((c < 128 && isalnum(c)) || (c && strchr("-._~", c))) {
      luaL_addchar(&b, (char)c);
    } else {
      luaL_addchar(&b, '%');
      luaL_addchar(&b, hex[c >> 4]);
      luaL_addchar(&b, hex[c & 15]);
    }
  }
  luaL_pushresult(&b);
  return 1;
}

int luaopen_pgafrun_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"escape", lhttp_escape}, {"request", lhttp_request}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
