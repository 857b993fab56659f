/* pg_connect.c - the operation that makes a connection: one candidate (host and address) after the other.
 *
 * libpq is given one numeric address at a time, so it never resolves and never goes on to another host by
 * itself; each candidate has its own time limit, and its own reason when it fails. Which role the server has
 * to have is also judged here: libpq does not tell that failure from a broken connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pg_internal.h"

typedef struct pg_connect {
  op_t op;
  uv_loop_t *loop;
  pg_conninfo_t *info;
  size_t host; /* index of the current candidate's host */
  bool host_begun;
  pg_addresses_t addresses; /* of that host; "" for a unix socket */
  size_t address;
  bool second_round; /* prefer-standby found none: anything will do */
  uv_timer_t *timer;
  pg_resolve_t *resolve;
  PGconn *conn;
  uv_poll_t *poll;
  bool asking_role, knows_role; /* of a server that has to be asked */
  bool is_standby, is_read_only;
  failure_t furthest; /* the failure that says most */
  char reasons[500];
  pg_connection_t *connection;
} pg_connect_t;

static void connect_next(pg_connect_t *r);
static void on_ready(uv_poll_t *poll, int status, int events);

/* --- letting go --- */

static void handle_closed(uv_handle_t *handle) { free(handle); }

static void candidate_end(pg_connect_t *r) {
  if (r->timer) uv_timer_stop(r->timer);
  if (r->resolve) pg_resolve_abandon(r->resolve);
  pg_poll_close(r->poll);
  PQfinish(r->conn);
  r->resolve = NULL;
  r->poll = NULL;
  r->conn = NULL;
  r->asking_role = r->knows_role = false;
}

static void connect_done(pg_connect_t *r) {
  candidate_end(r);
  if (r->timer) uv_close((uv_handle_t *)r->timer, handle_closed);
  r->timer = NULL;
  pg_addresses_free(&r->addresses);
  pg_conninfo_free(r->info); /* the password goes with it */
  r->info = NULL;
  op_complete(&r->op);
}

static void connect_cancel(op_t *op) { connect_done((pg_connect_t *)op); }

static void connect_destroy(op_t *op) {
  pg_connection_free(((pg_connect_t *)op)->connection);
  free(op);
}

static const op_class_t connect_class = {"pg.connect", connect_cancel, connect_destroy};

/* --- why a candidate failed --- */

static const pg_host_t *host_of(const pg_connect_t *r) { return &r->info->hosts[r->host]; }

/* NULL for a unix socket, and while there is none. */
static const char *address_of(const pg_connect_t *r) {
  const char *address = r->address < r->addresses.count ? r->addresses.list[r->address] : "";
  return *address ? address : NULL;
}

/* "HOST:PORT (ADDRESS)" */
static void candidate_name(const pg_connect_t *r, char *name, size_t size) {
  const pg_host_t *h = host_of(r);
  const char *address = address_of(r), *host = h->host ? h->host : address ? address : "the default socket";
  bool shown = address && strcmp(address, host) != 0;
  snprintf(name, size, "%s:%s%s%s%s", host, h->port, shown ? " (" : "", shown ? address : "",
           shown ? ")" : "");
}

static int rank(const char *kind) {
  static const char *const order[] = {"memory",  "system",   "data", "network",
                                      "timeout", "protocol", "tls",  "postgres"};
  int i = 0;
  while (i < 7 && strcmp(order[i], kind) != 0) i++;
  return i;
}

static void add_reason(pg_connect_t *r, const failure_t *f) {
  size_t used = strlen(r->reasons);
  snprintf(r->reasons + used, sizeof r->reasons - used, "%s%s", used ? "; " : "", f->message);
  bool retryable = r->furthest.retryable || f->retryable;
  if (!failure_is_set(&r->furthest) || rank(f->kind) >= rank(r->furthest.kind)) r->furthest = *f;
  r->furthest.retryable = retryable;
}

/* The current candidate is out. */
static void candidate_failed(pg_connect_t *r, const failure_t *f) {
  add_reason(r, f);
  candidate_end(r);
  r->address++;
}

static void candidate_failed_by_attempt(pg_connect_t *r, const pg_attempt_t *attempt) {
  char name[400];
  failure_t f = {0};
  candidate_name(r, name, sizeof name);
  pg_failure_of_attempt(&f, r->conn, attempt, name);
  candidate_failed(r, &f);
}

static void connect_failed(pg_connect_t *r) {
  failure_t f = r->furthest;
  failure_set(&r->op.failure, f.kind, f.code, "cannot connect%s: %s",
              r->info->host_count > 1 ? " to any host" : "", r->reasons);
  r->op.failure.retryable = f.retryable;
  connect_done(r);
}

/* --- time limit --- */

static void on_timeout(uv_timer_t *timer) {
  pg_connect_t *r = timer->data;
  char name[400];
  failure_t f = {0};
  candidate_name(r, name, sizeof name);
  failure_set(&f, "timeout", "connect_timeout", "%s: %s within %g s", name,
              r->resolve ? "its name was not resolved" : "no connection", r->info->connect_timeout);
  f.retryable = true;
  candidate_failed(r, &f);
  connect_next(r);
}

static void limit_start(pg_connect_t *r) {
  double seconds = r->info->connect_timeout;
  if (seconds <= 0) return;
  uv_update_time(r->loop); /* the script may have computed for long since the last I/O */
  uv_timer_start(r->timer, on_timeout, seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000), 0);
}

/* --- the server's role --- */

static void connected(pg_connect_t *r) {
  PQsetErrorVerbosity(r->conn, PQERRORS_DEFAULT);
  uv_poll_stop(r->poll);
  pg_connection_t *c = pg_connection_new(r->loop, r->conn, r->poll);
  failure_t f = {0};
  if (!c) {
    failure_set(&f, "memory", NULL, "no memory for a connection");
    candidate_failed(r, &f);
    connect_next(r);
    return;
  }
  r->conn = NULL;
  r->poll = NULL;
  if (pg_connection_is_open(c)) {
    r->connection = c;
    connect_done(r);
    return;
  }
  f = *pg_connection_why_closed(c);
  f.kind = "network";
  f.retryable = true;
  pg_connection_free(c);
  candidate_failed(r, &f);
  connect_next(r);
}

static bool role_is_fine(pg_target_t target, bool standby, bool read_only) {
  switch (target) {
  case PG_TARGET_READ_WRITE: return !standby && !read_only;
  case PG_TARGET_READ_ONLY: return standby || read_only;
  case PG_TARGET_PRIMARY: return !standby;
  case PG_TARGET_STANDBY:
  case PG_TARGET_PREFER_STANDBY: return standby;
  default: return true;
  }
}

static void judge_role(pg_connect_t *r, bool standby, bool read_only) {
  if (role_is_fine(r->info->target, standby, read_only)) {
    connected(r);
    return;
  }
  char name[400];
  failure_t f = {0};
  candidate_name(r, name, sizeof name);
  failure_set(&f, "postgres", "target_session_attrs", "%s is %s%s but %s was asked for", name,
              standby ? "a standby" : "a primary", read_only && !standby ? " that is read-only" : "",
              pg_target_name(r->info->target));
  f.retryable = true;
  candidate_failed(r, &f);
  connect_next(r);
}

static void watch(pg_connect_t *r, int events);

/* Servers from 14 on report their role unasked; others, and poolers, have to be asked. */
static void check_role(pg_connect_t *r) {
  if (r->info->target == PG_TARGET_ANY || r->second_round) {
    connected(r);
    return;
  }
  const char *standby = PQparameterStatus(r->conn, "in_hot_standby");
  const char *read_only = PQparameterStatus(r->conn, "default_transaction_read_only");
  if (standby && read_only) {
    judge_role(r, strcmp(standby, "on") == 0, strcmp(read_only, "on") == 0);
    return;
  }
  r->asking_role = true;
  PQsetnonblocking(r->conn, 1);
  PQsendQuery(r->conn,
              "select pg_catalog.pg_is_in_recovery(), "
              "pg_catalog.current_setting('transaction_read_only') = 'on'"); /* a failure shows on reading */
  watch(r, UV_READABLE);
}

static void keep_role(pg_connect_t *r, const PGresult *result) {
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 || PQnfields(result) != 2) return;
  r->knows_role = true;
  r->is_standby = *PQgetvalue(result, 0, 0) == 't';
  r->is_read_only = *PQgetvalue(result, 0, 1) == 't';
}

static void read_role(pg_connect_t *r) {
  int unsent = PQflush(r->conn);
  bool alive = PQconsumeInput(r->conn);
  while (!PQisBusy(r->conn)) {
    PGresult *result = PQgetResult(r->conn);
    if (!result && r->knows_role && alive) {
      judge_role(r, r->is_standby, r->is_read_only);
      return;
    }
    if (!result) break;
    keep_role(r, result);
    PQclear(result);
  }
  if (alive && PQisBusy(r->conn)) {
    watch(r, UV_READABLE | (unsent > 0 ? UV_WRITABLE : 0));
    return;
  }
  candidate_failed_by_attempt(r, &(pg_attempt_t){.phase = CONNECTION_STARTED});
  connect_next(r);
}

/* --- one candidate --- */

/* What the socket says before libpq reads it away: libpq only tells in words. False: it has failed for
 * good. */
static bool look_at_socket(const PGconn *conn, pg_attempt_t *attempt) {
  int fd = PQsocket(conn);
  char byte;
  if (attempt->phase == CONNECTION_STARTED) {
    socklen_t size = sizeof attempt->socket_error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &attempt->socket_error, &size);
    return attempt->socket_error == 0;
  }
  ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) attempt->socket_error = errno;
  attempt->peer_gone = n == 0 || attempt->socket_error != 0;
  return true;
}

static void watch(pg_connect_t *r, int events) {
  int fd = PQsocket(r->conn), error = 0;
  uv_os_fd_t watched;
  if (r->poll && (uv_fileno((uv_handle_t *)r->poll, &watched) != 0 || watched != fd)) {
    pg_poll_close(r->poll);
    r->poll = NULL;
  }
  if (!r->poll) {
    r->poll = malloc(sizeof *r->poll);
    error = r->poll ? uv_poll_init(r->loop, r->poll, fd) : UV_ENOMEM;
    if (error) {
      free(r->poll);
      r->poll = NULL;
    }
  }
  if (!error) {
    r->poll->data = r;
    error = uv_poll_start(r->poll, events, on_ready);
  }
  if (!error) return;
  failure_t f = {0};
  failure_set_uv(&f, "system", error, "watching a connection");
  candidate_failed(r, &f);
  connect_next(r);
}

static void socket_failed(pg_connect_t *r, int error) {
  char name[400];
  failure_t f = {0};
  candidate_name(r, name, sizeof name);
  failure_set_uv(&f, "network", uv_translate_sys_error(error), "%s", name);
  f.retryable = true;
  candidate_failed(r, &f);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  pg_connect_t *r = poll->data;
  pg_attempt_t attempt = {.phase = PQstatus(r->conn), .encrypted = PQsslInUse(r->conn)};
  /* libpq may close the socket and open another with the same number, which the kernel then does not
   * watch: so stop before, start after */
  uv_poll_stop(poll);
  if (r->asking_role) {
    read_role(r);
    return;
  }
  if (!look_at_socket(r->conn, &attempt)) {
    socket_failed(r, attempt.socket_error);
    connect_next(r);
    return;
  }
  switch (PQconnectPoll(r->conn)) {
  case PGRES_POLLING_READING: watch(r, UV_READABLE); break;
  case PGRES_POLLING_WRITING: watch(r, UV_WRITABLE); break;
  case PGRES_POLLING_OK: check_role(r); break;
  default: candidate_failed_by_attempt(r, &attempt); connect_next(r);
  }
}

static void ignore_notice(void *data, const PGresult *notice) {}

/* What this transport decides itself comes first, then the user's own keywords but those.
 * PQconnectStartParams takes the later of two. */
static PGconn *start_libpq(const pg_connect_t *r) {
  const pg_host_t *h = host_of(r);
  const char **keywords = calloc(r->info->count + 10, sizeof *keywords);
  const char **values = calloc(r->info->count + 10, sizeof *values);
  PGconn *conn = NULL;
  if (keywords && values) {
    size_t n = 0;
    const char *const defaults[][2] = {
        {"client_encoding", "UTF8"},
        {"fallback_application_name", "pgafrun"},
        {"gssencmode",
         getenv("PGGSSENCMODE") ? NULL : "disable"}, /* it may ask a key server, and wait for it */
    };
    const char *const decided[][2] = {
        {"host", h->host},        {"hostaddr", address_of(r)},
        {"port", h->port},        {"target_session_attrs", "any"},
        {"connect_timeout", "0"},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++, n++) {
      keywords[n] = defaults[i][0];
      values[n] = defaults[i][1];
    }
    for (size_t i = 0; i < r->info->count; i++, n++) {
      keywords[n] = r->info->keywords[i];
      values[n] = r->info->values[i];
    }
    for (size_t i = 0; i < sizeof decided / sizeof *decided; i++, n++) {
      keywords[n] = decided[i][0];
      values[n] = decided[i][1] ? decided[i][1] : "";
    }
    errno = 0;
    conn = PQconnectStartParams(keywords, values, 0);
  }
  free(keywords);
  free(values);
  return conn;
}

/* libpq reports an attempt that fails at once as it reports bad parameters: in words. So: has it come as
 * far as having an address, or is its socket not there, and is errno one of connect's? */
static bool is_connect_error(const pg_connect_t *r, int error) {
  char path[512];
  switch (error) {
  case ECONNREFUSED:
  case ECONNRESET:
  case EACCES:
  case ENETUNREACH:
  case EHOSTUNREACH:
  case EADDRNOTAVAIL:
  case ETIMEDOUT:
  case EMFILE:
  case ENFILE: return !address_of(r) || *PQhostaddr(r->conn);
  case ENOENT:
    snprintf(path, sizeof path, "%s/.s.PGSQL.%s", PQhost(r->conn), PQport(r->conn));
    return !address_of(r) && access(path, F_OK) != 0;
  default: return false;
  }
}

static void candidate_start(pg_connect_t *r) {
  r->conn = start_libpq(r);
  int error = errno;
  failure_t f = {0};
  if (r->conn && PQstatus(r->conn) != CONNECTION_BAD) {
    PQsetErrorVerbosity(r->conn, PQERRORS_VERBOSE); /* for the SQLSTATE; see pg_error.c */
    PQsetNoticeReceiver(r->conn, ignore_notice, NULL);
    limit_start(r);
    watch(r, UV_WRITABLE);
    return;
  }
  if (!r->conn) {
    failure_set(&f, "memory", NULL, "no memory for a connection");
  } else if (is_connect_error(r, error)) {
    socket_failed(r, error);
    return;
  } else {
    char line[400];
    pg_error_line(line, sizeof line, PQerrorMessage(r->conn));
    failure_set(&f, "data", NULL, "%s", line);
  }
  candidate_failed(r, &f);
}

/* --- one host --- */

static void on_resolved(void *owner, int status, pg_addresses_t addresses) {
  pg_connect_t *r = owner;
  r->resolve = NULL;
  r->addresses = addresses;
  r->address = 0;
  if (status != 0) {
    failure_t f = {0};
    failure_set_uv(&f, "network", status, "%s: its name cannot be resolved", host_of(r)->host);
    f.retryable = true;
    candidate_failed(r, &f);
  }
  connect_next(r);
}

/* Finds the host's addresses, now or later. */
static void host_start(pg_connect_t *r) {
  const pg_host_t *h = host_of(r);
  failure_t f = {0};
  r->host_begun = true;
  r->address = 0;
  pg_addresses_free(&r->addresses);
  bool is_socket = !h->hostaddr && (!h->host || h->host[0] == '/' || h->host[0] == '@');
  const char *address = h->hostaddr                      ? h->hostaddr
                        : is_socket                      ? ""
                        : pg_address_is_numeric(h->host) ? h->host
                                                         : NULL;
  if (address) {
    if (pg_addresses_add(&r->addresses, address)) return;
    failure_set(&f, "memory", NULL, "no memory for an address");
  } else {
    int error = pg_resolve_start(r->loop, h->host, r, on_resolved, &r->resolve);
    if (!error) {
      limit_start(r);
      return;
    }
    failure_set_uv(&f, "network", error, "%s: its name cannot be resolved", h->host);
  }
  candidate_failed(r, &f);
}

/* Goes on until something has to be waited for, or all is over. */
static void connect_next(pg_connect_t *r) {
  while (!r->conn && !r->resolve && r->info) {
    if (!r->host_begun) {
      host_start(r);
    } else if (r->address < r->addresses.count) {
      candidate_start(r);
    } else if (r->host + 1 < r->info->host_count) {
      r->host++;
      r->host_begun = false;
    } else if (r->info->target == PG_TARGET_PREFER_STANDBY && !r->second_round) {
      r->second_round = true;
      r->host = 0;
      r->host_begun = false;
      r->reasons[0] = 0;
      r->furthest = (failure_t){0};
    } else {
      connect_failed(r);
      return;
    }
  }
}

op_t *pg_connect_start(uv_loop_t *loop, pg_conninfo_t *info) {
  pg_connect_t *r = calloc(1, sizeof *r);
  uv_timer_t *timer = malloc(sizeof *timer);
  if (!r || !timer) {
    free(r);
    free(timer);
    pg_conninfo_free(info);
    return NULL;
  }
  op_init(&r->op, &connect_class);
  r->loop = loop;
  r->info = info;
  uv_timer_init(loop, timer);
  timer->data = r;
  r->timer = timer;
  op_submit(&r->op);
  connect_next(r);
  return &r->op;
}

pg_connection_t *pg_connect_take(op_t *op) {
  pg_connect_t *r = (pg_connect_t *)op;
  pg_connection_t *c = r->connection;
  r->connection = NULL;
  return c;
}
