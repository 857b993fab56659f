/* ws_connect.c - from the URL to the open websocket: libcurl connects (CURLOPT_CONNECT_ONLY), then the upgrade is
 * our own request and reply on its socket. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "curlfail.h"
#include "ws_internal.h"

typedef struct connect {
  op_t op;
  ws_t *ws; /* owned until ws_connected takes it */
} connect_t;

static void connect_cancel(op_t *op) {
  connect_t *c = (connect_t *)op;
  ws_t *ws = c->ws;
  c->ws = NULL;
  ws->connect = NULL;
  ws_close(ws);
  op_complete(op);
}

static void connect_destroy(op_t *op) {
  connect_t *c = (connect_t *)op;
  if (c->ws) ws_close(c->ws);
  free(c);
}

static const op_class_t connect_class = {"ws.connect", connect_cancel, connect_destroy};

/* Ends the handshake: the operation's failure is filled, or the socket is open. */
static void connect_complete(ws_t *ws) {
  connect_t *c = (connect_t *)ws->connect;
  ws->connect = NULL;
  if (failure_is_set(&c->op.failure)) {
    c->ws = NULL;
    ws_close(ws);
  }
  op_complete(&c->op);
}

/* --- the upgrade --- */

static void send_request(ws_t *ws) {
  while (ws->request_sent < ws->request.size) {
    size_t n = 0;
    CURLcode rc = curl_easy_send(ws->easy, ws->request.data + ws->request_sent,
                                 ws->request.size - ws->request_sent, &n);
    if (rc == CURLE_AGAIN) return;
    if (rc != CURLE_OK) {
      ws->request_sent = ws->request.size; /* the reply, or its absence, tells more */
      return;
    }
    ws->request_sent += n;
  }
}

void ws_upgrade(ws_t *ws) {
  failure_t *f = &ws->connect->failure;
  ws_reply_t verdict = WS_REPLY_MORE;
  bool more = true;
  size_t used = 0;
  send_request(ws);
  while (verdict == WS_REPLY_MORE && (more || ws->cut)) {
    if (!ws->cut) more = ws_fill(ws);
    if (more || ws->cut)
      verdict = ws_reply(ws->in, ws->in_end, ws->cut != NULL, ws->accept, ws->label, &used, f);
  }
  if (verdict == WS_REPLY_MORE) {
    ws_watch(ws);
  } else if (verdict == WS_REPLY_FAILED) {
    connect_complete(ws);
  } else {
    ws->in_start = used;
    connect_complete(ws); /* only marks the waiter ready: nothing of it runs before this has returned */
    ws_open(ws);
  }
}

static void on_timeout(uv_timer_t *timer) {
  ws_t *ws = timer->data;
  failure_t *f = &ws->connect->failure;
  size_t used;
  /* a refusal whose text is slow to come is still a refusal */
  bool refused = ws->state == WS_UPGRADING && ws->in_end > 0 &&
                 ws_reply(ws->in, ws->in_end, true, ws->accept, ws->label, &used, f) == WS_REPLY_FAILED &&
                 strcmp(f->kind, "protocol") == 0;
  if (!refused) {
    failure_set(f, "timeout", NULL, "%s: %s within %.3g s", ws->label,
                ws->state == WS_UPGRADING ? "connected, but no answer to the handshake" : "no connection",
                (double)ws->handshake_ms / 1000);
    f->retryable = true;
  }
  connect_complete(ws);
}

static void begin_upgrade(ws_t *ws) {
  failure_t *f = &ws->connect->failure;
  curl_socket_t socket = CURL_SOCKET_BAD;
  curl_easy_getinfo(ws->easy, CURLINFO_ACTIVESOCKET, &socket);
  int rc = socket == CURL_SOCKET_BAD ? UV_EBADF : uv_poll_init_socket(&ws->runtime->loop, &ws->poll, socket);
  if (rc != 0) {
    failure_set_uv(f, "system", rc, "%s: watching the connection", ws->label);
    connect_complete(ws);
    return;
  }
  ws->has_poll = true;
  ws->handles++;
  ws->poll.data = ws;
  ws->state = WS_UPGRADING;
  ws_upgrade(ws);
}

void ws_tcp_connected(CURL *easy, CURLcode result) {
  ws_t *ws = NULL;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &ws);
  if (ws->state != WS_CONNECTING) return;
  if (result == CURLE_OK) {
    begin_upgrade(ws);
    return;
  }
  curlfail_set(&ws->connect->failure, easy, result, ws->label, ws->detail, ws->distrust, false);
  connect_complete(ws);
}

/* --- starting --- */

static bool set_up_curl(ws_t *ws, const ws_options_t *o, const char *url, failure_t *f) {
  CURL *e = ws->easy;
  curl_easy_setopt(e, CURLOPT_PRIVATE, ws);
  curl_easy_setopt(e, CURLOPT_ERRORBUFFER, ws->detail);
  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
  /* an upgrade is a thing of HTTP/1.1: nothing else may be negotiated */
  curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(e, CURLOPT_SSL_ENABLE_ALPN, 0L);
  curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L);
  curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)ws->handshake_ms + 1000); /* the timer here is first */
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else giving up on a name server waits for its thread */
#endif
  bool ok = curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
  if (ok && o->unix_socket) {
    ok = curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, o->unix_socket) == CURLE_OK;
    curl_easy_setopt(e, CURLOPT_PROXY, "");
  }
  if (ok && strncasecmp(url, "https:", 6) == 0 && !tls_apply(e, &o->tls, f)) return false;
  if (!ok) failure_set(f, "memory", NULL, "%s: no memory", ws->label);
  return ok;
}

static void set_label(ws_t *ws, const ws_options_t *o) {
  char url[300];
  curlfail_url(url, sizeof url, o->url);
  snprintf(ws->label, sizeof ws->label, "websocket %s%s%.80s%s", url, o->unix_socket ? " (unix socket " : "",
           o->unix_socket ? o->unix_socket : "", o->unix_socket ? ")" : "");
}

static bool prepare(ws_t *ws, const ws_options_t *o, failure_t *f) {
  bytes_t url = {0};
  bool ok = ws_http_url(&url, o->url);
  if (!ok)
    failure_set(f, "memory", NULL, "%s: no memory", ws->label);
  else
    ok = ws_request(&ws->request, ws->accept, url.data, o->headers, o->header_count, f) &&
         set_up_curl(ws, o, url.data, f);
  bytes_free(&url);
  return ok;
}

op_t *ws_connect(runtime_t *runtime, const ws_options_t *o) {
  connect_t *c = calloc(1, sizeof *c);
  ws_t *ws = c ? ws_new(runtime) : NULL;
  if (!ws) {
    free(c);
    return NULL;
  }
  op_init(&c->op, &connect_class);
  c->ws = ws;
  ws->connect = &c->op;
  ws->max_bytes = o->max_bytes;
  ws->distrust = tls_distrust(&o->tls);
  ws->handshake_ms = o->timeout < 1e6 ? (uint64_t)(o->timeout * 1000) : 1000000000;
  set_label(ws, o);
  op_submit(&c->op);
  if (!prepare(ws, o, &c->op.failure)) {
    connect_complete(ws);
  } else if (!curlloop_add(ws->curl, ws->easy)) {
    failure_set(&c->op.failure, "memory", NULL, "%s: no memory", ws->label);
    connect_complete(ws);
  } else {
    uv_update_time(&runtime->loop); /* the time limit counts from now, not from the start of this turn */
    uv_timer_start(&ws->timer, on_timeout, ws->handshake_ms, 0);
  }
  return &c->op;
}

ws_t *ws_connected(op_t *connect) {
  connect_t *c = (connect_t *)connect;
  assert(connect->class == &connect_class && c->ws);
  ws_t *ws = c->ws;
  c->ws = NULL;
  return ws;
}
