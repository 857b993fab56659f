/* pg_connection.c - an open connection and how it ends.
 *
 * libpq may close the socket itself, inside almost any call, when it meets an error. Whoever calls libpq
 * therefore checks afterwards and breaks the connection at once, before anything else on this thread can open
 * a descriptor that reuses the number.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_internal.h"

static void poll_closed(uv_handle_t *handle) { free(handle); }

void pg_poll_close(uv_poll_t *poll) {
  if (poll) uv_close((uv_handle_t *)poll, poll_closed);
}

/* Notices that come with a query are kept with it. What comes as an error while nothing runs is the
 * server's good-bye. */
static void on_notice(void *data, const PGresult *notice) {
  pg_connection_t *c = data;
  if (c->query) {
    pg_query_add_notice(c->query, notice);
    return;
  }
  const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *code = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
  const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  if (!severity || !code || !message) return;
  if (strcmp(severity, "FATAL") != 0 && strcmp(severity, "PANIC") != 0) return;
  snprintf(c->last_words_code, sizeof c->last_words_code, "%s", code);
  snprintf(c->last_words, sizeof c->last_words, "%s", message);
}

static void on_ready(uv_poll_t *poll, int status, int events);

pg_connection_t *pg_connection_new(uv_loop_t *loop, PGconn *conn, uv_poll_t *poll) {
  pg_connection_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  const char *host = PQhost(conn);
  c->host = strdup(host ? host : "");
  c->port = strdup(PQport(conn));
  if (!c->host || !c->port || PQsetnonblocking(conn, 1) != 0) {
    free(c->host);
    free(c->port);
    free(c);
    return NULL;
  }
  c->loop = loop;
  c->conn = conn;
  c->poll = poll;
  c->last = &c->first;
  c->ssl = PQsslStruct(conn, "OpenSSL");
  c->pid = PQbackendPID(conn);
  c->server_version = PQserverVersion(conn);
  snprintf(c->where, sizeof c->where, "%s:%s", c->host, c->port);
  poll->data = c;
  PQsetNoticeReceiver(conn, on_notice, c);
  pg_connection_flush(c);
  return c;
}

bool pg_connection_consume(pg_connection_t *c) {
  if (!PQconsumeInput(c->conn)) return false;
  /* What OpenSSL has already taken from the socket will not make it readable again. The newest minor releases
   * of libpq see to that themselves; older ones, as stock distributions have them, read only once a call. */
  while (c->ssl && SSL_pending(c->ssl) > 0)
    if (!PQconsumeInput(c->conn)) return false;
  return true;
}

void pg_connection_flush(pg_connection_t *c) {
  int left = PQflush(c->conn);
  int events = UV_READABLE | (left > 0 ? UV_WRITABLE : 0);
  if (left < 0 || PQstatus(c->conn) == CONNECTION_BAD) {
    pg_connection_lost(c, "network");
    return;
  }
  if (events == c->events) return;
  int error = uv_poll_start(c->poll, events, on_ready);
  if (error) {
    failure_t f = {0};
    failure_set_uv(&f, "system", error, "watching the connection to %s", c->where);
    pg_connection_break(c, &f);
    return;
  }
  c->events = events;
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  pg_connection_t *c = poll->data;
  if (status < 0) c->events = 0; /* libuv has stopped watching; libpq finds out why by reading */
  bool alive = pg_connection_consume(c);
  if (c->query) pg_query_advance(c);
  if (!c->conn) return;
  if (!pg_notify_collect(c)) {
    failure_t f = {0};
    failure_set(&f, "limit", "notifications", "%zu notifications from %s have not been read",
                c->notifications, c->where);
    pg_connection_break(c, &f);
  } else if (!alive) {
    pg_connection_lost(c, "network");
  } else if (PQstatus(c->conn) == CONNECTION_BAD) {
    pg_connection_lost(c, "protocol"); /* reading went well, so it was what it read */
  } else {
    pg_connection_flush(c);
  }
}

void pg_connection_lost(pg_connection_t *c, const char *kind) {
  failure_t f = {0};
  if (c->last_words[0]) {
    failure_set(&f, "network", c->last_words_code, "the server at %s ended the connection: %s", c->where,
                c->last_words);
  } else {
    char line[400];
    pg_error_line(line, sizeof line, PQerrorMessage(c->conn));
    failure_set(&f, kind, NULL, "the connection to %s broke: %s", c->where,
                line[0] ? line : "no reason given");
  }
  f.retryable = strcmp(f.kind, "network") == 0;
  pg_connection_break(c, &f);
}

void pg_connection_break(pg_connection_t *c, const failure_t *why) {
  if (!c->conn) return;
  pg_query_t *query = c->query;
  pg_listen_t *listen = c->listen;
  c->query = NULL;
  c->listen = NULL;
  c->happened = *why;
  failure_set(&c->why, "closed", why->code, "the connection to %s is closed: %s", c->where, why->message);
  pg_poll_close(c->poll);
  c->poll = NULL;
  PQfinish(c->conn);
  c->conn = NULL;
  c->ssl = NULL;
  if (query) pg_query_abandon(query, &c->happened);
  if (listen) pg_listen_abandon(listen, &c->happened);
}

void pg_connection_close(pg_connection_t *c) {
  failure_t f = {0};
  /* a server notices that nobody waits only when it answers */
  if (c->query) pg_cancel_request(c->loop, c->conn);
  failure_set(&f, "closed", NULL, "the connection to %s was closed by this program", c->where);
  pg_connection_break(c, &f);
}

void pg_connection_free(pg_connection_t *c) {
  if (!c) return;
  pg_connection_close(c);
  while (c->first) pg_notification_drop(c);
  free(c->host);
  free(c->port);
  free(c);
}

bool pg_connection_is_open(const pg_connection_t *c) { return c->conn != NULL; }
const failure_t *pg_connection_why_closed(const pg_connection_t *c) { return &c->why; }
const failure_t *pg_connection_what_happened(const pg_connection_t *c) { return &c->happened; }
const char *pg_connection_where(const pg_connection_t *c) { return c->where; }
bool pg_connection_is_busy(const pg_connection_t *c) { return c->query != NULL; }
bool pg_connection_has_listener(const pg_connection_t *c) { return c->listen != NULL; }
const char *pg_connection_host(const pg_connection_t *c) { return c->host; }
const char *pg_connection_port(const pg_connection_t *c) { return c->port; }
int pg_connection_pid(const pg_connection_t *c) { return c->pid; }
int pg_connection_server_version(const pg_connection_t *c) { return c->server_version; }
bool pg_connection_is_encrypted(const pg_connection_t *c) { return c->ssl != NULL; }
