/* http.h - HTTP requests, over TCP, TLS or a unix socket, on kept connections that the whole process shares.
 *
 * A request is an op_t (op.h). Everything in http_options_t is borrowed for the call of http_start alone. Failure kinds:
 * network, tls, timeout, limit, protocol, data (a malformed URL), memory. An HTTP status is never a failure.
 *
 * A request that mutates is put on the wire once at most. libcurl by itself sends a request again when a kept
 * connection dies before the first byte of the answer; by then the server may have acted. */
#ifndef PGAFRUN_HTTP_H
#define PGAFRUN_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "op.h"
#include "runtime.h"
#include "tls.h"

typedef struct http http_t;

typedef struct http_header {
  const char *name, *value; /* neither holds CR, LF or NUL: the caller has checked */
} http_header_t;

typedef struct http_options {
  const char *url;         /* http:// or https:// */
  const char *method;      /* NULL: GET */
  const char *unix_socket; /* path, or NULL; the url's host is then only the Host header */
  const http_header_t *headers;
  size_t header_count;
  const void *body; /* NULL: none. With one, headers should name its Content-Type: none is made up */
  size_t body_size;
  tls_options_t tls;
  double timeout;         /* seconds, > 0: for all of it */
  double connect_timeout; /* seconds, > 0: until the connection (and TLS) stands */
  size_t max_bytes;       /* of the response's body; kind "limit" beyond it */
  bool mutates;           /* a break after sending leaves the outcome unknown */
  bool http1;             /* no HTTP/2 */
} http_options_t;

typedef struct http_response {
  int status;
  const char *body; /* NULL when empty */
  size_t body_size;
  const char *headers; /* name NUL value NUL ..., names in lower case, in order of arrival */
  size_t headers_size;
  double seconds; /* from start to last byte */
} http_response_t;

/* The runtime's http, made at the first call. NULL: no memory. */
http_t *http_of(runtime_t *runtime);

/* Stops what is under way (kind "closed") and closes the kept connections; the libuv handles close on the
 * loop's next turns. Harmless when there never was one. */
void http_free(runtime_t *runtime);

/* Starts a request and returns its submitted operation, which may be done already. NULL: no memory. */
op_t *http_start(runtime_t *runtime, const http_options_t *options);

/* The answer of an operation that is done without failure; lives as long as op. */
const http_response_t *http_response(const op_t *op);

#endif
