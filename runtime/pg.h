/* pg.h - PostgreSQL by libpq, never blocking the loop.
 *
 * A connection is made by pg_connect_start() and lives until pg_connection_free(). While it is open its
 * socket is watched for reading also when nobody asks for anything, so that notifications are stamped when
 * they arrive and a broken connection is known at once. One query (or pipeline) runs on it at a time; one
 * task may wait for notifications beside it. Closing, whoever does it, completes what is pending.
 *
 * All of this is for the loop's thread alone.
 */
#ifndef PGAFRUN_PG_H
#define PGAFRUN_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "op.h"
#include "pg_conninfo.h"

typedef struct pg_connection pg_connection_t;

/* Tries the candidates of info in order. Owns info from here on, also when it returns NULL (no memory).
 * The failure names the reason of every candidate; its kind and code are those of the candidate that got
 * furthest. */
op_t *pg_connect_start(uv_loop_t *loop, pg_conninfo_t *info);
/* The connection of a successful operation; the caller owns it. NULL the second time. */
pg_connection_t *pg_connect_take(op_t *op);

bool pg_connection_is_open(const pg_connection_t *c);
/* Only for a connection that is not open. Why it is closed, kind "closed"; and what happened when it was,
 * with its own kind (network, protocol, limit, closed). */
const failure_t *pg_connection_why_closed(const pg_connection_t *c);
const failure_t *pg_connection_what_happened(const pg_connection_t *c);
/* "HOST:PORT" */
const char *pg_connection_where(const pg_connection_t *c);
bool pg_connection_is_busy(const pg_connection_t *c);
bool pg_connection_has_listener(const pg_connection_t *c);
const char *pg_connection_host(const pg_connection_t *c);
const char *pg_connection_port(const pg_connection_t *c);
int pg_connection_pid(const pg_connection_t *c);
int pg_connection_server_version(const pg_connection_t *c);
bool pg_connection_is_encrypted(const pg_connection_t *c);
/* Idempotent; completes what is pending with kind "closed", and asks the server to cancel a query. */
void pg_connection_close(pg_connection_t *c);
/* Closes and frees; no operation may be started on it any more. NULL is fine. */
void pg_connection_free(pg_connection_t *c);

typedef enum pg_query_mode {
  PG_QUERY_ONE,      /* one statement, extended protocol, parameters */
  PG_QUERY_SCRIPT,   /* several statements in one text, simple protocol, no parameters */
  PG_QUERY_PIPELINE, /* many, each its own transaction */
  PG_QUERY_ATOMIC,   /* many, one transaction: if one fails nothing of any is kept */
} pg_query_mode_t;

typedef struct pg_statement {
  const char *sql;
  int count;                 /* of parameters */
  const char *const *values; /* text format; NULL is SQL NULL */
} pg_statement_t;

/* A message of the server beside the results: level below ERROR. */
typedef struct pg_notice {
  struct pg_notice *next;
  size_t statement; /* index of the statement it came with */
  char severity[12];
  char code[6];
  char message[500];
} pg_notice_t;

/* Sends the statements, which need not outlive the call. The connection must be open and not busy. NULL:
 * no memory. The operation itself always succeeds: what became of statement i is pg_query_failure(op, i)
 * or else pg_query_result(op, i). Cancelling asks the server to cancel, in the background, and closes the
 * connection. */
op_t *pg_query_start(pg_connection_t *c, pg_query_mode_t mode, const pg_statement_t *statements, size_t count,
                     bool mutates);
size_t pg_query_count(const op_t *op);
/* How many of the statements, from the first on, are answered for good, though the operation may still be pending. A
 * pipeline tells that there are some more by op_tell_part. */
size_t pg_query_answered(const op_t *op);
/* Frees the result of statement i, which nobody will ask for again. */
void pg_query_drop(op_t *op, size_t i);
/* The result, also the error's, of statement i; NULL when none came. */
const PGresult *pg_query_result(const op_t *op, size_t i);
/* False when statement i succeeded; else fills f. outcome_unknown is set where the answer, or the
 * confirmation that its transaction ended, did not come. */
bool pg_query_failure(const op_t *op, size_t i, failure_t *f);
const pg_notice_t *pg_query_notices(const op_t *op);

typedef struct pg_notification {
  struct pg_notification *next;
  uint64_t at; /* uv_hrtime of its arrival */
  int pid;     /* of the server process that sent it */
  char *payload;
  char channel[64];
} pg_notification_t;

/* Completes when a notification is there (it is still to be taken), or fails with why the connection broke.
 * The connection must be open or have a notification left, and no listener. NULL: no memory. */
op_t *pg_listen_start(pg_connection_t *c);
/* The oldest notification, or NULL; also of a closed connection, for what came before. */
const pg_notification_t *pg_notification_first(const pg_connection_t *c);
/* Frees the oldest one. */
void pg_notification_drop(pg_connection_t *c);

/* Whether a SQLSTATE says that the same call may succeed later without anybody's help. */
bool pg_sqlstate_is_retryable(const char *sqlstate);

#endif
