#include "http_options.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <lauxlib.h>

#include "arguments.h"

bool http_options_is_token(const char *text) {
  if (!*text) return false;
  for (; *text; text++)
    if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text)) return false;
  return true;
}

static bool has_scheme(const char *url, const char *scheme) {
  size_t n = strlen(scheme);
  return strncasecmp(url, scheme, n) == 0 && strncmp(url + n, "://", 3) == 0;
}

const char *http_options_url(lua_State *L, int index, const char *plain, const char *with_tls, bool *secure) {
  const char *url = arguments_text(L, index, "url");
  *secure = url && has_scheme(url, with_tls);
  if (!url || !(*secure || has_scheme(url, plain)))
    luaL_argerror(L, index,
                  lua_pushfstring(L, "option 'url' must begin with %s:// or %s://", plain, with_tls));
  return url;
}

/* The pair on top of the stack. Its value is not shown: it may be a secret. */
static http_header_t read_header(lua_State *L, int index) {
  if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
    luaL_argerror(L, index, "option 'headers' must map names to strings");
  http_header_t header = {lua_tostring(L, -2), lua_tostring(L, -1)};
  if (strlen(header.name) != lua_rawlen(L, -2) || !http_options_is_token(header.name))
    luaL_argerror(L, index,
                  lua_pushfstring(L, "option 'headers': '%s' cannot be a header's name", header.name));
  if (strcspn(header.value, "\r\n") != lua_rawlen(L, -1))
    luaL_argerror(L, index,
                  lua_pushfstring(L, "option 'headers': the value of %s has a line break or a zero byte",
                                  header.name));
  return header;
}

const http_header_t *http_options_headers(lua_State *L, int index, size_t *count) {
  *count = 0;
  if (lua_getfield(L, index, "headers") == LUA_TNIL) return NULL;
  if (!lua_istable(L, -1)) luaL_argerror(L, index, "option 'headers' must be a table");
  int table = lua_gettop(L);
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) n++;
  http_header_t *headers = lua_newuserdatauv(L, n * sizeof *headers + 1, 0);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) headers[(*count)++] = read_header(L, index);
  return headers;
}

tls_options_t http_options_tls(lua_State *L, int index, bool secure, const char *unix_socket) {
  static const char *const names[] = {"ca", "pinned", "cert", "key", NULL};
  tls_options_t tls = {0};
  if (lua_getfield(L, index, "tls") == LUA_TNIL) return tls;
  if (!lua_istable(L, -1)) luaL_argerror(L, index, "option 'tls' must be a table");
  int table = lua_gettop(L);
  arguments_check(L, table, false, false, names);
  tls.ca = arguments_text(L, table, "ca");
  tls.pinned = arguments_text(L, table, "pinned");
  tls.cert = arguments_text(L, table, "cert");
  tls.key = arguments_text(L, table, "key");
  if (tls.ca && tls.pinned) luaL_argerror(L, index, "option 'tls': ca and pinned exclude each other");
  if (!tls.cert != !tls.key) luaL_argerror(L, index, "option 'tls': cert and key go together");
  if (!secure && !unix_socket)
    luaL_argerror(L, index, "option 'tls' is given, but the url is one without TLS");
  return tls;
}
