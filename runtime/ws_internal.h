/* ws_internal.h - what the files of ws.h share. ws.c: the socket's life and its bytes. ws_connect.c: from the URL to
 * the open socket. ws_wait.c: the operations that wait for an open socket. */
#ifndef PGAFRUN_WS_INTERNAL_H
#define PGAFRUN_WS_INTERNAL_H

#include <stdint.h>

#include <wslay/wslay.h>

#include "bytes.h"
#include "curlloop.h"
#include "ws.h"
#include "ws_handshake.h"

#define WS_BUFFER (64 * 1024)

typedef enum ws_state { WS_CONNECTING, WS_UPGRADING, WS_OPEN, WS_ENDED } ws_state_t;

typedef struct message {
  struct message *next;
  size_t size;
  bool text;
  char data[];
} message_t;

/* An operation on an open socket, in one of its lists while it is pending. */
typedef struct ws_wait {
  op_t op;
  ws_t *ws; /* NULL once the socket was closed */
  struct ws_wait *next, **link;
} ws_wait_t;

struct ws {
  runtime_t *runtime;
  ws_state_t state;
  bool owned;        /* ws_close has not been called */
  bool disconnected; /* curl and the libuv handles are closed, or closing */
  int handles;       /* libuv handles that are not closed yet; at 0 an unowned ws is freed */

  /* the connection */
  curlloop_t *curl;
  CURL *easy;
  uv_poll_t poll; /* on curl's socket, from the moment curl no longer watches it */
  bool has_poll;
  int polled;       /* events that poll waits for */
  uv_timer_t timer; /* of the handshake */
  uv_idle_t again;  /* goes on reading on the next turn: bytes may wait where poll does not see them */

  /* bytes */
  wslay_event_context_ptr wslay;
  char *in, *out; /* WS_BUFFER each; what is in use is [start, end) */
  size_t in_start, in_end, out_start, out_end;
  size_t budget;   /* bytes that may still be read on this turn */
  int pongs;       /* queued since all was sent; bounded, for a peer who pings and reads nothing */
  bool write_dead; /* the other side takes nothing any more; reading goes on */

  /* the handshake */
  op_t *connect; /* pending, or NULL */
  uint64_t handshake_ms;
  const char *distrust; /* see curlfail_set */
  bytes_t request;
  size_t request_sent;
  char accept[WS_ACCEPT_SIZE];

  /* messages */
  message_t *first, **last;
  size_t queued, max_bytes; /* queued counts messages with their heads */
  bool pinged;
  ws_wait_t *reader, *pings, *sends;

  /* the end */
  const char *cut;    /* "eof" or "reset" when the connection broke */
  const char *reason; /* of WS_ENDED: "closed", "eof", "reset" */
  failure_t failure;  /* of WS_ENDED: set when it is an error */

  char label[400]; /* "websocket URL (unix socket PATH)", without secrets */
  char detail[CURL_ERROR_SIZE];
};

/* ws.c */
ws_t *ws_new(runtime_t *runtime); /* in WS_CONNECTING, owned by the caller; NULL: no memory */
void ws_open(ws_t *ws);           /* WS_UPGRADING -> WS_OPEN; frames may be in the buffer already */
void ws_flush(ws_t *ws);          /* writes what the kernel takes, completes senders */
void ws_watch(ws_t *ws);          /* polls for what is of interest now */
size_t ws_unsent(const ws_t *ws);
/* Reads once into the free part of in. False: would block, or ended, which sets cut. */
bool ws_fill(ws_t *ws);
void ws_disconnect(ws_t *ws);

/* ws_connect.c */
void ws_tcp_connected(CURL *easy, CURLcode result); /* curl has made the connection, or not */
void ws_upgrade(ws_t *ws); /* the socket is ready for the next bytes of the handshake */

/* ws_wait.c */
void ws_wake_reader(ws_t *ws); /* a message came, or the end */
void ws_wake_pings(ws_t *ws);  /* a ping came, or the end */
void ws_wake_sends(ws_t *ws);  /* bytes went out, or the end */
void ws_wait_closed(ws_t *ws); /* ws_close: all waiting fails, and forgets ws */

#endif
