/* ws_handshake.h - the texts of a websocket's beginning (RFC 6455 section 4), without any input or output. */
#ifndef PGAFRUN_WS_HANDSHAKE_H
#define PGAFRUN_WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"
#include "failure.h"
#include "http.h"

#define WS_ACCEPT_SIZE 32

/* Copies url with ws:// or wss:// as http:// or https://, which is what libcurl connects to. */
bool ws_http_url(bytes_t *out, const char *url);

/* Writes the upgrade request for http_url (from ws_http_url), and into accept (WS_ACCEPT_SIZE bytes) what the server must answer
 * to its random key. False and f: kind data (a URL that is malformed or has userinfo) or memory. */
bool ws_request(bytes_t *out, char *accept, const char *http_url, const http_header_t *headers,
                size_t header_count, failure_t *f);

typedef enum ws_reply { WS_REPLY_MORE, WS_REPLY_OPEN, WS_REPLY_FAILED } ws_reply_t;

#define WS_REPLY_MAX (16 * 1024)

/* Judges the reply from the size bytes that have come so far; over: no more will come. OPEN: the handshake took *used bytes, what
 * follows are frames. FAILED: f says why, beginning with `what`: kind protocol, code the HTTP status, where the
 * server refused, with the text of its body; kind protocol for what is no handshake; network for an early end. */
ws_reply_t ws_reply(const char *data, size_t size, bool over, const char *accept, const char *what,
                    size_t *used, failure_t *f);

#endif
