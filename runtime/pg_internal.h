/* pg_internal.h - what the files of the PostgreSQL transport share; nobody else includes it.
 *
 *   pg_conninfo.c    keywords -> candidates
 *   pg_connect.c     the operation that tries them, one after the other
 *   pg_address.c     a host's name -> numeric addresses
 *   pg_connection.c  an open connection: its socket, its end
 *   pg_query.c       the operation of queries and pipelines
 *   pg_notify.c      notifications, and the operation that waits for one
 *   pg_cancel.c      asking a server to cancel, beside the loop
 *   pg_error.c       what libpq and the server say -> failures
 */
#ifndef PGAFRUN_PG_INTERNAL_H
#define PGAFRUN_PG_INTERNAL_H

#include "pg.h"

typedef struct pg_query pg_query_t;
typedef struct pg_listen pg_listen_t;

struct pg_connection {
  uv_loop_t *loop;
  PGconn *conn;        /* NULL once closed */
  void *ssl;           /* OpenSSL's SSL, owned by conn; NULL without TLS */
  uv_poll_t *poll;     /* freed in its close callback */
  int events;          /* that poll is started for */
  pg_query_t *query;   /* in flight */
  pg_listen_t *listen; /* waiting for a notification */
  pg_notification_t *first, **last;
  size_t notifications;
  failure_t why, happened; /* see pg_connection_why_closed */
  char last_words_code[6]; /* an error the server sent while nothing was asked: it is about to hang up */
  char last_words[300];
  char *host, *port;
  char where[300]; /* "HOST:PORT" for messages */
  int pid, server_version;
};

/* --- pg_connection.c --- */

/* Takes over conn and the (stopped) poll handle. NULL: no memory, nothing taken. */
pg_connection_t *pg_connection_new(uv_loop_t *loop, PGconn *conn, uv_poll_t *poll);
/* Closes it for this reason (copied) and completes what is pending. */
void pg_connection_break(pg_connection_t *c, const failure_t *why);
/* The same, with libpq's own last message as the reason. */
void pg_connection_lost(pg_connection_t *c, const char *kind);
/* Sends what is waiting to be sent and watches the socket for what is needed next. Breaks c if that fails. */
void pg_connection_flush(pg_connection_t *c);
/* Reads what has arrived. False: the connection is gone (but c not yet closed). */
bool pg_connection_consume(pg_connection_t *c);
void pg_poll_close(uv_poll_t *poll);

/* --- pg_query.c --- */

/* Takes the results that are complete. May complete the query, may break c. */
void pg_query_advance(pg_connection_t *c);
/* c is closed: completes the query with what it has. */
void pg_query_abandon(pg_query_t *q, const failure_t *why);
void pg_query_add_notice(pg_query_t *q, const PGresult *notice);

/* --- pg_notify.c --- */

/* Queues what libpq has and wakes the listener. False: too many unread ones. */
bool pg_notify_collect(pg_connection_t *c);
void pg_listen_abandon(pg_listen_t *l, const failure_t *why);

/* --- pg_cancel.c --- */

/* Asks the server to cancel what conn runs. conn may be finished right after. */
void pg_cancel_request(uv_loop_t *loop, PGconn *conn);

/* --- pg_address.c --- */

typedef struct pg_addresses {
  char **list;
  size_t count;
} pg_addresses_t;

typedef struct pg_resolve pg_resolve_t;
/* addresses are the callback's to free; on error there are none and status is a negative uv error. */
typedef void (*pg_resolve_cb)(void *owner, int status, pg_addresses_t addresses);
/* Returns 0 and calls back later, from the loop; or a negative uv error and never calls back. */
int pg_resolve_start(uv_loop_t *loop, const char *name, void *owner, pg_resolve_cb done,
                     pg_resolve_t **resolve);
/* It will not call back any more. */
void pg_resolve_abandon(pg_resolve_t *resolve);
bool pg_addresses_add(pg_addresses_t *addresses, const char *address);
void pg_addresses_free(pg_addresses_t *addresses);
bool pg_address_is_numeric(const char *text);

/* --- pg_error.c --- */

/* The connection's last phase, for the kind of a failed attempt; set before each PQconnectPoll. */
typedef struct pg_attempt {
  ConnStatusType phase;
  bool encrypted;
  bool peer_gone;   /* end of file or an error was waiting on the socket */
  int socket_error; /* errno, 0 if unknown */
} pg_attempt_t;

void pg_failure_of_result(failure_t *f, const PGresult *result, const char *where);
/* Of a connection attempt; candidate is "HOST:PORT (ADDRESS)". Its message has no "cannot connect" in
 * front. */
void pg_failure_of_attempt(failure_t *f, const PGconn *conn, const pg_attempt_t *attempt,
                           const char *candidate);
/* libpq's last message as one line without a line end. */
void pg_error_line(char *line, size_t size, const char *message);

#endif
