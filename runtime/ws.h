/* ws.h - websockets: wslay's framing over a connection that libcurl makes (TCP, TLS or a unix socket).
 *
 * Messages are drained into memory as they come, whether anybody reads or not, because a server may take a slow reader
 * for a dead one and drop its output. Pings are answered here. Each socket has a curl multi handle of its own: a shared
 * one closes connections that look idle to it when another transfer starts.
 *
 * A socket has one owner, who calls ws_close exactly once and does not use it afterwards. Operations may be waiting at that
 * time: they fail with kind "closed". All waiting is by op_t (op.h). */
#ifndef PGAFRUN_WS_H
#define PGAFRUN_WS_H

#include <stdbool.h>
#include <stddef.h>

#include "http.h"
#include "op.h"
#include "runtime.h"
#include "tls.h"

typedef struct ws ws_t;

typedef struct ws_options {
  const char *url;         /* ws:// or wss://, without userinfo */
  const char *unix_socket; /* path, or NULL */
  const http_header_t *headers;
  size_t header_count;
  tls_options_t tls;
  double timeout;   /* seconds, > 0: for connection and handshake together */
  size_t max_bytes; /* of what is received and not read, one message or many; beyond it kind "limit" */
} ws_options_t;

/* Connects and shakes hands; options are borrowed for the call. NULL: no memory. Failure kinds: network, tls, timeout, data
 * (the url), memory, protocol (code is the HTTP status when the server refused). */
op_t *ws_connect(runtime_t *runtime, const ws_options_t *options);
/* The socket of a connect operation that is done without failure; once. The caller is its owner. */
ws_t *ws_connected(op_t *connect);

/* Waits for a message or the end; is done at once when there is one. One reader at a time: not to be called while
 * ws_has_reader. The message stays queued until ws_drop, so a reader who gives up loses nothing. Failure kinds: closed
 * (by ws_close), limit, protocol, memory: the latter three come after the messages before them, and again each time. */
op_t *ws_recv(ws_t *ws);
/* A recv operation exists: it holds its place until it is destroyed. */
bool ws_has_reader(const ws_t *ws);
/* For a recv operation done without failure: "text" or "binary" and the message, or, with *data NULL, how the stream has ended:
 * "closed" (a close frame), "eof" (cut without one), "reset". */
const char *ws_peek(op_t *recv, const char **data, size_t *size);
/* Takes the message that ws_peek showed out of the queue. */
void ws_drop(op_t *recv);

/* Queues a copy of the message and flushes what the kernel takes; done when less than WS_HIGH_WATER bytes are unsent. Failure kinds:
 * closed, memory. NULL: no memory. */
#define WS_HIGH_WATER (1024 * 1024)
op_t *ws_send(ws_t *ws, const void *data, size_t size, bool text);

/* Waits for the first ping; done at once when there has been one. Failure kind closed when the stream ends before. */
op_t *ws_wait_ping(ws_t *ws);

/* Sends a close frame if that needs no waiting, and closes. What is unsent is lost. ws is gone for the caller; its libuv
 * handles close on the loop's next turn. */
void ws_close(ws_t *ws);

#endif
