/* pg_notify.c - notifications, stamped when they arrive and kept until somebody takes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_internal.h"

#define NOTIFICATIONS_MAX 65536

struct pg_listen {
  op_t op;
  pg_connection_t *connection; /* NULL once it has let go */
};

const pg_notification_t *pg_notification_first(const pg_connection_t *c) { return c->first; }

static void notification_free(pg_notification_t *n) {
  free(n->payload);
  free(n);
}

void pg_notification_drop(pg_connection_t *c) {
  pg_notification_t *n = c->first;
  if (!n) return;
  c->first = n->next;
  if (!c->first) c->last = &c->first;
  c->notifications--;
  notification_free(n);
}

static bool add(pg_connection_t *c, const PGnotify *from, uint64_t at) {
  pg_notification_t *n = c->notifications < NOTIFICATIONS_MAX ? calloc(1, sizeof *n) : NULL;
  if (!n) return false;
  n->payload = strdup(from->extra);
  if (!n->payload) {
    free(n);
    return false;
  }
  n->at = at;
  n->pid = from->be_pid;
  snprintf(n->channel, sizeof n->channel, "%s", from->relname);
  *c->last = n;
  c->last = &n->next;
  c->notifications++;
  return true;
}

static void listen_done(pg_listen_t *l) {
  l->connection = NULL;
  op_complete(&l->op);
}

bool pg_notify_collect(pg_connection_t *c) {
  uint64_t at = 0;
  bool kept = true;
  for (PGnotify *n; kept && (n = PQnotifies(c->conn)); PQfreemem(n)) {
    if (!at) at = uv_hrtime();
    kept = add(c, n, at);
  }
  if (c->first && c->listen) {
    pg_listen_t *l = c->listen;
    c->listen = NULL;
    listen_done(l);
  }
  return kept;
}

void pg_listen_abandon(pg_listen_t *l, const failure_t *why) {
  l->op.failure = *why;
  listen_done(l);
}

static void listen_cancel(op_t *op) {
  pg_listen_t *l = (pg_listen_t *)op;
  l->connection->listen = NULL;
  listen_done(l);
}

static void listen_destroy(op_t *op) { free(op); }

static const op_class_t listen_class = {"pg.notification", listen_cancel, listen_destroy};

op_t *pg_listen_start(pg_connection_t *c) {
  pg_listen_t *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  op_init(&l->op, &listen_class);
  op_submit(&l->op);
  if (c->first) {
    op_complete(&l->op);
  } else {
    l->connection = c;
    c->listen = l;
  }
  return &l->op;
}
