/* ws_wait.c - the operations on an open websocket: recv, send, wait_ping. */
#include <assert.h>
#include <stdlib.h>

#include "ws_internal.h"

static void unlink_wait(ws_wait_t *w) {
  if (!w->link) return;
  *w->link = w->next;
  if (w->next) w->next->link = w->link;
  w->link = NULL;
}

static void add_wait(ws_wait_t **list, ws_wait_t *w) {
  w->next = *list;
  w->link = list;
  if (w->next) w->next->link = &w->next;
  *list = w;
}

static void wait_cancel(op_t *op) {
  unlink_wait((ws_wait_t *)op);
  op_complete(op);
}

static void wait_destroy(op_t *op) { free(op); }

static void recv_destroy(op_t *op) {
  ws_wait_t *w = (ws_wait_t *)op;
  if (w->ws) w->ws->reader = NULL;
  free(w);
}

/* The reader is not in a list: it holds its place until it is destroyed. */
static void recv_cancel(op_t *op) { op_complete(op); }

static const op_class_t recv_class = {"ws.recv", recv_cancel, recv_destroy};
static const op_class_t send_class = {"ws.send", wait_cancel, wait_destroy};
static const op_class_t ping_class = {"ws.wait_ping", wait_cancel, wait_destroy};

static ws_wait_t *wait_new(ws_t *ws, const op_class_t *class) {
  ws_wait_t *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  op_init(&w->op, class);
  w->ws = ws;
  op_submit(&w->op);
  return w;
}

/* Why nothing can be sent, or no ping will come. */
static void set_over(ws_t *ws, failure_t *f) {
  if (ws->state != WS_ENDED)
    failure_set(f, "closed", "reset", "%s: the server no longer takes data", ws->label);
  else if (failure_is_set(&ws->failure))
    failure_set(f, "closed", ws->failure.kind, "%s: the connection was given up before", ws->label);
  else
    failure_set(f, "closed", ws->reason, "%s: the stream has ended (%s)", ws->label, ws->reason);
}

/* --- recv --- */

void ws_wake_reader(ws_t *ws) {
  ws_wait_t *w = ws->reader;
  if (!w || !w->op.held_by_transport) return;
  if (!ws->first && ws->state != WS_ENDED) return;
  if (!ws->first && failure_is_set(&ws->failure)) w->op.failure = ws->failure;
  op_complete(&w->op);
}

op_t *ws_recv(ws_t *ws) {
  assert(!ws->reader);
  ws_wait_t *w = wait_new(ws, &recv_class);
  if (!w) return NULL;
  ws->reader = w;
  ws_wake_reader(ws);
  return &w->op;
}

bool ws_has_reader(const ws_t *ws) { return ws->reader != NULL; }

const char *ws_peek(op_t *recv, const char **data, size_t *size) {
  assert(recv->class == &recv_class);
  ws_t *ws = ((ws_wait_t *)recv)->ws;
  *data = NULL;
  *size = 0;
  if (!ws) return "closed"; /* by ws_close, between the message and its reader's turn */
  if (!ws->first) return ws->reason;
  *data = ws->first->data;
  *size = ws->first->size;
  return ws->first->text ? "text" : "binary";
}

void ws_drop(op_t *recv) {
  ws_t *ws = ((ws_wait_t *)recv)->ws;
  message_t *m = ws ? ws->first : NULL;
  if (!m) return;
  ws->first = m->next;
  if (!ws->first) ws->last = &ws->first;
  ws->queued -= sizeof *m + m->size;
  free(m);
}

/* --- send --- */

static void send_over(ws_wait_t *w) {
  set_over(w->ws, &w->op.failure);
  w->op.failure.outcome_unknown = w->op.mutates;
  op_complete(&w->op);
}

void ws_wake_sends(ws_t *ws) {
  bool dead = ws->state == WS_ENDED || ws->write_dead;
  if (!ws->sends || (!dead && ws_unsent(ws) >= WS_HIGH_WATER)) return;
  while (ws->sends) {
    ws_wait_t *w = ws->sends;
    unlink_wait(w);
    if (dead)
      send_over(w);
    else
      op_complete(&w->op);
  }
}

op_t *ws_send(ws_t *ws, const void *data, size_t size, bool text) {
  ws_wait_t *w = wait_new(ws, &send_class);
  if (!w) return NULL;
  struct wslay_event_msg message = {.opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
                                    .msg = data,
                                    .msg_length = size};
  int rc = ws->state == WS_OPEN && !ws->write_dead ? wslay_event_queue_msg(ws->wslay, &message)
                                                   : WSLAY_ERR_NO_MORE_MSG;
  if (rc == WSLAY_ERR_NOMEM) {
    failure_set(&w->op.failure, "memory", NULL, "%s: no memory for a message of %zu bytes", ws->label, size);
    op_complete(&w->op);
  } else if (rc != 0) {
    send_over(w);
  } else {
    w->op.mutates = true; /* from here on, who gives up does not know what has arrived */
    add_wait(&ws->sends, w);
    ws_flush(ws);
    ws_watch(ws);
  }
  return &w->op;
}

/* --- wait_ping --- */

void ws_wake_pings(ws_t *ws) {
  while (ws->pings) {
    ws_wait_t *w = ws->pings;
    unlink_wait(w);
    if (!ws->pinged) set_over(ws, &w->op.failure);
    op_complete(&w->op);
  }
}

op_t *ws_wait_ping(ws_t *ws) {
  ws_wait_t *w = wait_new(ws, &ping_class);
  if (!w) return NULL;
  add_wait(&ws->pings, w);
  if (ws->pinged || ws->state == WS_ENDED) ws_wake_pings(ws);
  return &w->op;
}

/* --- close --- */

static void fail_closed(ws_wait_t *w) {
  failure_set(&w->op.failure, "closed", NULL, "%s: the socket was closed while waiting", w->ws->label);
  w->op.failure.outcome_unknown = w->op.mutates;
  w->ws = NULL;
  op_complete(&w->op);
}

void ws_wait_closed(ws_t *ws) {
  ws_wait_t **const lists[] = {&ws->sends, &ws->pings};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    while (*lists[i]) {
      ws_wait_t *w = *lists[i];
      unlink_wait(w);
      fail_closed(w);
    }
  ws_wait_t *reader = ws->reader;
  if (!reader) return;
  ws->reader = NULL;
  if (reader->op.held_by_transport)
    fail_closed(reader);
  else
    reader->ws = NULL;
}
