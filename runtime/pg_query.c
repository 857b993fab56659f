/* pg_query.c - the operation of a query, a script or a pipeline.
 *
 * Everything is given to libpq at once, whose buffer grows as needed; the socket is then written and read as
 * it allows, so a large pipeline cannot deadlock with a server that waits for its answers to be read.
 *
 * When is the outcome of a change known? Only when the server has said that its transaction ended
 * (ReadyForQuery): in the extended protocol COMMIT happens after "INSERT 0 1" was sent, and may still fail
 * (deferred constraints) or never be confirmed (a server that dies). An ERROR is a definite no; a FATAL one,
 * which ends the session, can have come after the commit.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_internal.h"

#define NOTICES_MAX 64
#define PART 64 /* answers that are worth a look of whoever waits for all of them */

typedef struct answer {
  PGresult *result; /* the error, once there was one */
  bool final;       /* the server has confirmed the end of its transaction */
} answer_t;

struct pg_query {
  op_t op;
  pg_connection_t *connection; /* NULL once it has let go */
  pg_query_mode_t mode;
  answer_t *answers;
  size_t count, index; /* index: the statement whose results come now */
  bool got_result;     /* of that statement */
  bool syncing;        /* pipeline: all its results are here, its sync is not */
  int ends;            /* consecutive ends of results */
  bool sent;
  failure_t broken; /* why the connection was lost, if it was */
  char where[300];
  pg_notice_t *notices, **last_notice;
  size_t notice_count;
};

static bool is_pipeline(const pg_query_t *q) {
  return q->mode == PG_QUERY_PIPELINE || q->mode == PG_QUERY_ATOMIC;
}

static void query_done(pg_query_t *q) {
  q->connection = NULL;
  op_complete(&q->op);
}

void pg_query_abandon(pg_query_t *q, const failure_t *why) {
  q->broken = *why;
  query_done(q);
}

static void query_cancel(op_t *op) {
  pg_query_t *q = (pg_query_t *)op;
  pg_connection_t *c = q->connection;
  failure_t f = {0};
  failure_set(&f, "closed", NULL,
              "its query was cancelled or timed out, and what it answers now would be taken for "
              "the answer to the next one");
  pg_cancel_request(c->loop, c->conn);
  pg_connection_break(c, &f);
}

static void query_destroy(op_t *op) {
  pg_query_t *q = (pg_query_t *)op;
  for (size_t i = 0; i < q->count; i++) PQclear(q->answers[i].result);
  for (pg_notice_t *n = q->notices, *next; n; n = next) {
    next = n->next;
    free(n);
  }
  free(q->answers);
  free(q);
}

static const op_class_t query_class = {"pg.query", query_cancel, query_destroy};
static const op_class_t exec_class = {"pg.exec", query_cancel, query_destroy};
static const op_class_t pipeline_class = {"pg.pipeline", query_cancel, query_destroy};

static const op_class_t *class_of(pg_query_mode_t mode) {
  return mode == PG_QUERY_ONE ? &query_class : mode == PG_QUERY_SCRIPT ? &exec_class : &pipeline_class;
}

static const char *field(const PGresult *result, int code) {
  const char *text = PQresultErrorField(result, code);
  return text ? text : "";
}

void pg_query_add_notice(pg_query_t *q, const PGresult *notice) {
  pg_notice_t *n = q->notice_count < NOTICES_MAX ? calloc(1, sizeof *n) : NULL;
  if (!n) return;
  n->statement = q->index < q->count ? q->index : q->count - 1;
  snprintf(n->severity, sizeof n->severity, "%s", field(notice, PG_DIAG_SEVERITY_NONLOCALIZED));
  snprintf(n->code, sizeof n->code, "%s", field(notice, PG_DIAG_SQLSTATE));
  snprintf(n->message, sizeof n->message, "%s", field(notice, PG_DIAG_MESSAGE_PRIMARY));
  *q->last_notice = n;
  q->last_notice = &n->next;
  q->notice_count++;
}

/* --- taking results --- */

static bool is_error(const PGresult *r) { return r && PQresultStatus(r) == PGRES_FATAL_ERROR; }

/* An error of libpq's own making, not the server's. */
static bool is_local(const PGresult *r) { return is_error(r) && !PQresultErrorField(r, PG_DIAG_SQLSTATE); }

static void keep(pg_query_t *q, PGresult *r) {
  answer_t *a = &q->answers[q->index < q->count ? q->index : q->count - 1];
  q->got_result = true;
  if (is_error(a->result)) {
    PQclear(r);
    return;
  }
  PQclear(a->result);
  a->result = r;
}

static bool protocol_broken(pg_connection_t *c, const char *what) {
  failure_t f = {0};
  failure_set(&f, "protocol", NULL, "%s %s", c->where, what);
  pg_connection_break(c, &f);
  return false;
}

static bool take_copy(pg_connection_t *c, PGresult *r) {
  PQclear(r);
  failure_t f = {0};
  failure_set(&f, "protocol", "copy",
              "COPY to or from the client of %s is not supported, and ends the connection", c->where);
  pg_connection_break(c, &f);
  return false;
}

static bool all_answered(pg_connection_t *c, pg_query_t *q) {
  if (is_pipeline(q) && !PQexitPipelineMode(c->conn)) return protocol_broken(c, "has not ended its pipeline");
  c->query = NULL;
  query_done(q);
  return false;
}

static bool take_end(pg_connection_t *c, pg_query_t *q) {
  if (++q->ends > 2) return protocol_broken(c, "ended a query without an answer");
  if (!is_pipeline(q)) {
    q->answers[0].final = true;
    return all_answered(c, q);
  }
  if (q->got_result && !q->syncing) {
    if (q->mode == PG_QUERY_ATOMIC) q->index++;
    q->syncing = q->mode == PG_QUERY_PIPELINE || q->index == q->count;
  }
  q->got_result = false;
  return true;
}

static bool take_sync(pg_connection_t *c, pg_query_t *q, PGresult *r) {
  PQclear(r);
  if (!q->syncing) return protocol_broken(c, "ended a pipeline's statement without an answer");
  q->syncing = false;
  q->got_result = false;
  if (q->mode == PG_QUERY_ATOMIC) {
    for (size_t i = 0; i < q->count; i++) q->answers[i].final = true;
  } else {
    q->answers[q->index++].final = true;
    if (q->index % PART == 0) op_tell_part(&q->op);
  }
  return q->index < q->count || all_answered(c, q);
}

/* Returns whether more can be asked of libpq. q or c may be through after it. */
static bool take(pg_connection_t *c, pg_query_t *q, PGresult *r) {
  if (PQstatus(c->conn) == CONNECTION_BAD && (!r || is_local(r))) {
    PQclear(r);
    return false; /* whoever reads the socket breaks the connection, knowing why */
  }
  if (!r) return take_end(c, q);
  q->ends = 0;
  switch (PQresultStatus(r)) {
  case PGRES_COPY_IN:
  case PGRES_COPY_OUT:
  case PGRES_COPY_BOTH: return take_copy(c, r);
  case PGRES_PIPELINE_SYNC: return take_sync(c, q, r);
  default: keep(q, r); return true;
  }
}

void pg_query_advance(pg_connection_t *c) {
  while (c->query && !PQisBusy(c->conn))
    if (!take(c, c->query, PQgetResult(c->conn))) break;
}

/* --- sending --- */

static bool send_statement(PGconn *conn, const pg_statement_t *s) {
  return PQsendQueryParams(conn, s->sql, s->count, NULL, s->values, NULL, NULL, 0);
}

static bool send_pipeline(pg_query_t *q, PGconn *conn, const pg_statement_t *statements) {
  if (!PQenterPipelineMode(conn)) return false;
  for (size_t i = 0; i < q->count; i++) {
    if (!send_statement(conn, &statements[i])) return false;
    bool sync = q->mode == PG_QUERY_PIPELINE || i + 1 == q->count;
    if (sync && !PQpipelineSync(conn)) return false;
  }
  return true;
}

/* Whether the connection is still there, as far as can be told without sending: what is found broken now
 * was broken before the query, whose outcome is then known. */
static bool is_alive(pg_connection_t *c) {
  bool alive = pg_connection_consume(c);
  alive = pg_notify_collect(c) && alive; /* also makes libpq look at what has come */
  if (alive && !c->last_words[0] && PQstatus(c->conn) == CONNECTION_OK) return true;
  pg_connection_lost(c, "network");
  return false;
}

op_t *pg_query_start(pg_connection_t *c, pg_query_mode_t mode, const pg_statement_t *statements, size_t count,
                     bool mutates) {
  assert(count > 0 && c->conn && !c->query);
  pg_query_t *q = calloc(1, sizeof *q);
  answer_t *answers = calloc(count, sizeof *answers);
  if (!q || !answers) {
    free(q);
    free(answers);
    return NULL;
  }
  op_init(&q->op, class_of(mode));
  q->op.mutates = mutates;
  q->mode = mode;
  q->answers = answers;
  q->count = count;
  q->last_notice = &q->notices;
  snprintf(q->where, sizeof q->where, "%s", c->where);
  op_submit(&q->op);
  if (!is_alive(c)) {
    pg_query_abandon(q, &c->why);
    return &q->op;
  }
  q->connection = c;
  q->sent = true;
  c->query = q;
  bool sent = mode == PG_QUERY_SCRIPT ? PQsendQuery(c->conn, statements->sql)
              : mode == PG_QUERY_ONE  ? send_statement(c->conn, statements)
                                      : send_pipeline(q, c->conn, statements);
  if (sent)
    pg_connection_flush(c);
  else
    pg_connection_lost(c, "network");
  return &q->op;
}

/* --- what became of it --- */

size_t pg_query_count(const op_t *op) { return ((const pg_query_t *)op)->count; }

size_t pg_query_answered(const op_t *op) {
  const pg_query_t *q = (const pg_query_t *)op;
  return op_is_done(op) ? q->count : q->mode == PG_QUERY_PIPELINE ? q->index : 0;
}

void pg_query_drop(op_t *op, size_t i) {
  answer_t *a = &((pg_query_t *)op)->answers[i];
  PQclear(a->result);
  a->result = NULL;
}

const PGresult *pg_query_result(const op_t *op, size_t i) {
  return ((const pg_query_t *)op)->answers[i].result;
}

const pg_notice_t *pg_query_notices(const op_t *op) { return ((const pg_query_t *)op)->notices; }

bool pg_query_failure(const op_t *op, size_t i, failure_t *f) {
  const pg_query_t *q = (const pg_query_t *)op;
  const answer_t *a = &q->answers[i];
  bool unknown = q->sent && q->op.mutates;
  if (is_error(a->result)) {
    pg_failure_of_result(f, a->result, q->where);
    bool refused = strcmp(field(a->result, PG_DIAG_SEVERITY_NONLOCALIZED), "ERROR") == 0;
    f->outcome_unknown = unknown && !refused && (!a->final || is_local(a->result));
    return true;
  }
  if (a->result && PQresultStatus(a->result) == PGRES_PIPELINE_ABORTED) {
    failure_set(f, "postgres", "25P02",
                "%s did not run this statement: an earlier one of its transaction failed", q->where);
    return true;
  }
  if (a->final) return false;
  *f = q->broken;
  f->outcome_unknown = unknown;
  return true;
}
