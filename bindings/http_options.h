/* http_options.h - the options that http.request and ws.connect have in common, read from a table of Lua's.
 *
 * What is returned points into strings that the stack and the option's table keep alive: use it before either changes.
 * All of it raises an argument error for what is not as it should be. */
#ifndef PGAFRUN_HTTP_OPTIONS_H
#define PGAFRUN_HTTP_OPTIONS_H

#include <lua.h>

#include "runtime/http.h"

/* The option 'url', which must begin with one of the two schemes ("http", "https"); *secure: with the second. */
const char *http_options_url(lua_State *L, int index, const char *plain, const char *with_tls, bool *secure);

/* The option 'headers'. *count is set; the array is Lua's. */
const http_header_t *http_options_headers(lua_State *L, int index, size_t *count);

/* The option 'tls'; all NULL when absent. Raises when there is one for an insecure connection over TCP. */
tls_options_t http_options_tls(lua_State *L, int index, bool secure, const char *unix_socket);

/* RFC 9110's tokens: names of headers, methods. */
bool http_options_is_token(const char *text);

#endif
