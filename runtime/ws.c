/* ws.c - the life of a websocket and the way of its bytes:
 *
 *   kernel -> curl_easy_recv -> in -> wslay -> message queue          (on_recv, on_message)
 *   wslay's queue -> out -> curl_easy_send -> kernel                  (on_send, ws_flush)
 *
 * wslay reads and writes in pieces of 4 KiB; in and out gather them into few system calls. wslay's callbacks only
 * gather: what follows from what they saw is done in ws_pump, after wslay has returned. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "ws_internal.h"

/* What one socket may read on one turn of the loop, so that a fast peer does not keep the others waiting. */
#define READ_BUDGET (1024 * 1024)
/* Answers to pings that may wait to be sent. */
#define PONGS_MAX 10000

/* --- making and unmaking --- */

static void ws_delete(ws_t *ws) {
  while (ws->first) {
    message_t *m = ws->first;
    ws->first = m->next;
    free(m);
  }
  bytes_free(&ws->request);
  free(ws->in);
  free(ws->out);
  free(ws);
}

static void on_closed(uv_handle_t *handle) {
  ws_t *ws = handle->data;
  if (--ws->handles > 0) return;
  if (ws->wslay) wslay_event_context_free(ws->wslay);
  ws->wslay = NULL;
  /* not before: this may have begun inside the multi handle's own report */
  curlloop_free(ws->curl);
  if (!ws->owned) ws_delete(ws);
}

void ws_disconnect(ws_t *ws) {
  if (ws->disconnected) return;
  ws->disconnected = true;
  /* the descriptor must be out of the loop before curl closes it */
  if (ws->has_poll) uv_close((uv_handle_t *)&ws->poll, on_closed);
  uv_close((uv_handle_t *)&ws->timer, on_closed);
  uv_close((uv_handle_t *)&ws->again, on_closed);
  curlloop_remove(ws->curl, ws->easy);
  curl_easy_cleanup(ws->easy);
  ws->easy = NULL;
}

ws_t *ws_new(runtime_t *runtime) {
  ws_t *ws = calloc(1, sizeof *ws);
  if (!ws) return NULL;
  ws->runtime = runtime;
  ws->owned = true;
  ws->last = &ws->first;
  ws->in = malloc(WS_BUFFER);
  ws->out = malloc(WS_BUFFER);
  ws->curl = ws->in && ws->out ? curlloop_new(&runtime->loop, ws_tcp_connected) : NULL;
  ws->easy = ws->curl ? curl_easy_init() : NULL;
  if (!ws->easy) {
    if (ws->curl) curlloop_free(ws->curl);
    ws_delete(ws);
    return NULL;
  }
  uv_timer_init(&runtime->loop, &ws->timer);
  uv_idle_init(&runtime->loop, &ws->again);
  ws->timer.data = ws->again.data = ws;
  ws->handles = 2;
  return ws;
}

void ws_close(ws_t *ws) {
  assert(ws->owned);
  ws_wait_closed(ws);
  if (ws->state == WS_OPEN && wslay_event_queue_close(ws->wslay, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
    ws_flush(ws);
  ws->state = WS_ENDED;
  ws->owned = false;
  ws_disconnect(ws);
  if (ws->handles == 0) ws_delete(ws);
}

/* The stream is over; whoever reads finds the messages that came before. */
static void ws_end(ws_t *ws, const char *reason) {
  ws->state = WS_ENDED;
  ws->reason = reason;
  ws_disconnect(ws);
  ws_wake_reader(ws);
  ws_wake_pings(ws);
  ws_wake_sends(ws);
}

/* --- reading --- */

bool ws_fill(ws_t *ws) {
  size_t n = 0;
  CURLcode rc = curl_easy_recv(ws->easy, ws->in + ws->in_end, WS_BUFFER - ws->in_end, &n);
  if (rc == CURLE_AGAIN) return false;
  if (rc == CURLE_OK && n > 0) {
    ws->in_end += n;
    return true;
  }
  if (rc == CURLE_OK) {
    ws->cut = "eof";
  } else {
    /* TLS that is cut without its farewell is an error to OpenSSL, but none to the operating system */
    long os_error = 0;
    curl_easy_getinfo(ws->easy, CURLINFO_OS_ERRNO, &os_error);
    ws->cut = os_error == ECONNRESET ? "reset" : "eof";
  }
  return false;
}

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *data, size_t size, int flags, void *user) {
  ws_t *ws = user;
  if (ws->in_start == ws->in_end) {
    ws->in_start = ws->in_end = 0;
    if (ws->budget == 0 || !ws_fill(ws)) {
      wslay_event_set_error(wslay, ws->cut ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
      return -1;
    }
    ws->budget -= ws->in_end < ws->budget ? ws->in_end : ws->budget;
  }
  size_t n = ws->in_end - ws->in_start;
  if (n > size) n = size;
  memcpy(data, ws->in + ws->in_start, n);
  ws->in_start += n;
  return (ssize_t)n;
}

/* Stops reading for good; f is what readers will be told. */
static void refuse(ws_t *ws, const char *kind, const char *why) {
  failure_set(&ws->failure, kind, NULL, "%s: %s", ws->label, why);
  wslay_event_shutdown_read(ws->wslay);
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user) {
  ws_t *ws = user;
  if (arg->opcode == WSLAY_PING) {
    ws->pinged = true;
    if (++ws->pongs > PONGS_MAX)
      refuse(ws, "protocol", "the server sends pings and does not read the answers");
  }
  if (arg->opcode != WSLAY_TEXT_FRAME && arg->opcode != WSLAY_BINARY_FRAME) return;
  size_t cost = sizeof(message_t) + arg->msg_length;
  if (cost > ws->max_bytes - ws->queued) {
    refuse(ws, "limit", "more has been received than may be kept unread (max_bytes)");
    return;
  }
  message_t *m = malloc(cost);
  if (!m) {
    refuse(ws, "memory", "no memory for a message");
    return;
  }
  m->next = NULL;
  m->text = arg->opcode == WSLAY_TEXT_FRAME;
  m->size = arg->msg_length;
  if (m->size) memcpy(m->data, arg->msg, m->size);
  *ws->last = m;
  ws->last = &m->next;
  ws->queued += cost;
}

/* --- writing --- */

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *data, size_t size, int flags,
                       void *user) {
  ws_t *ws = user;
  size_t room = WS_BUFFER - ws->out_end;
  if (!room) {
    wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  if (size > room) size = room;
  memcpy(ws->out + ws->out_end, data, size);
  ws->out_end += size;
  return (ssize_t)size;
}

static int on_mask(wslay_event_context_ptr wslay, uint8_t *key, size_t size, void *user) {
  return RAND_bytes(key, (int)size) == 1 ? 0 : -1;
}

size_t ws_unsent(const ws_t *ws) {
  return wslay_event_get_queued_msg_length(ws->wslay) + (ws->out_end - ws->out_start);
}

/* Nothing can be sent any more. What the peer sent before may still wait in the kernel, so reading decides the end. */
static void stop_writing(ws_t *ws) {
  ws->write_dead = true;
  ws->out_start = ws->out_end = 0;
  wslay_event_shutdown_write(ws->wslay);
}

void ws_flush(ws_t *ws) {
  while (!ws->write_dead) {
    if (ws->out_start == ws->out_end) {
      /* Refilled only when empty: OpenSSL wants an unfinished write repeated from the same place. */
      ws->out_start = ws->out_end = 0;
      if (wslay_event_want_write(ws->wslay) && wslay_event_send(ws->wslay) != 0) stop_writing(ws);
      if (ws->out_end == 0) {
        ws->pongs = 0;
        break;
      }
    }
    size_t n = 0;
    CURLcode rc = curl_easy_send(ws->easy, ws->out + ws->out_start, ws->out_end - ws->out_start, &n);
    if (rc == CURLE_AGAIN) break;
    if (rc == CURLE_OK)
      ws->out_start += n;
    else
      stop_writing(ws);
  }
  ws_wake_sends(ws);
}

/* --- the loop --- */

/* Why reading stopped for good, once ws_pump has found that it did. */
static const char *judge_end(ws_t *ws, int result) {
  if (failure_is_set(&ws->failure)) return "failed";
  if (wslay_event_get_close_received(ws->wslay)) return "closed";
  if (ws->cut) return ws->cut;
  if (result == WSLAY_ERR_NOMEM)
    refuse(ws, "memory", "no memory for a message");
  else if (wslay_event_get_status_code_sent(ws->wslay) == WSLAY_CODE_MESSAGE_TOO_BIG)
    refuse(ws, "limit", "a message is larger than may be kept unread (max_bytes)");
  else
    refuse(ws, "protocol", "the server broke the websocket protocol");
  return "failed";
}

static void ws_pump(ws_t *ws) {
  ws->budget = READ_BUDGET;
  bool pinged = ws->pinged;
  int result = wslay_event_recv(ws->wslay);
  bool over = result != 0 || !wslay_event_get_read_enabled(ws->wslay);
  ws_flush(ws); /* pongs, and the answer to a close */
  if (over) {
    ws_end(ws, judge_end(ws, result));
    return;
  }
  if (ws->first) ws_wake_reader(ws);
  if (ws->pinged && !pinged) ws_wake_pings(ws);
  ws_watch(ws);
}

static void on_again(uv_idle_t *idle) {
  uv_idle_stop(idle);
  ws_pump(idle->data);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  ws_t *ws = poll->data;
  /* an error of poll is found, and named, by the next read */
  if (ws->state == WS_UPGRADING)
    ws_upgrade(ws);
  else if (status < 0 || (events & UV_READABLE))
    ws_pump(ws);
  else {
    ws_flush(ws);
    ws_watch(ws);
  }
}

void ws_watch(ws_t *ws) {
  int events = UV_READABLE;
  if (ws->state == WS_UPGRADING ? ws->request_sent < ws->request.size : ws->out_end > ws->out_start)
    events |= UV_WRITABLE;
  if (events != ws->polled) uv_poll_start(&ws->poll, events, on_ready);
  ws->polled = events;
  if (ws->state == WS_OPEN && ws->budget == 0) uv_idle_start(&ws->again, on_again);
}

void ws_open(ws_t *ws) {
  static const struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
                                                         .send_callback = on_send,
                                                         .genmask_callback = on_mask,
                                                         .on_msg_recv_callback = on_message};
  ws->state = WS_OPEN;
  uv_timer_stop(&ws->timer);
  bytes_free(&ws->request);
  if (wslay_event_context_client_init(&ws->wslay, &callbacks, ws) != 0) {
    ws->wslay = NULL;
    failure_set(&ws->failure, "memory", NULL, "%s: no memory", ws->label);
    ws_end(ws, "failed");
    return;
  }
  wslay_event_config_set_max_recv_msg_length(ws->wslay, ws->max_bytes);
  ws_pump(ws);
}
