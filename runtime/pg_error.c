/* pg_error.c - what libpq and the server say, as failures. Decided by codes and by the phase of the
 * connection, never by the text: libpq's own errors have no code. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pg_internal.h"

bool pg_sqlstate_is_retryable(const char *sqlstate) {
  /* whole classes: connection exceptions, transaction rollbacks (serialization, deadlock) */
  if (strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "40", 2) == 0) return true;
  static const char *const codes[] = {
      "25006", /* read_only_sql_transaction: a standby, or a new primary just before it takes writes */
      "53300", /* too_many_connections */
      "55006", /* object_in_use */
      "55P03", /* lock_not_available */
      "57P01", /* admin_shutdown */
      "57P02", /* crash_shutdown */
      "57P03", /* cannot_connect_now */
  };
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (strcmp(sqlstate, codes[i]) == 0) return true;
  return false;
}

void pg_error_line(char *line, size_t size, const char *message) {
  size_t n = 0;
  bool gap = false;
  for (const char *p = message ? message : ""; *p && n + 2 < size; p++) {
    if (isspace((unsigned char)*p)) {
      gap = n > 0;
      continue;
    }
    if (gap) line[n++] = ' ';
    gap = false;
    line[n++] = *p;
  }
  line[n] = 0;
}

static const char *field(const PGresult *result, int code) {
  const char *text = PQresultErrorField(result, code);
  return text ? text : "";
}

void pg_failure_of_result(failure_t *f, const PGresult *result, const char *where) {
  const char *code = field(result, PG_DIAG_SQLSTATE);
  if (!*code) { /* made by libpq itself: no memory for the result, or the connection broke */
    char line[400];
    pg_error_line(line, sizeof line, PQresultErrorMessage(result));
    failure_set(f, "system", NULL, "the query on %s gave no result: %s", where, line);
    return;
  }
  const char *detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  failure_set(f, "postgres", code, "%s answered %s %s: %s%s%s%s", where,
              field(result, PG_DIAG_SEVERITY_NONLOCALIZED), code, field(result, PG_DIAG_MESSAGE_PRIMARY),
              *detail ? " (" : "", detail, *detail ? ")" : "");
  f->retryable = pg_sqlstate_is_retryable(code);
}

/* During connection setup libpq has no other way to tell a SQLSTATE than its verbose messages: "SEVERITY:
 * CODE: TEXT" with two spaces. Returns the last one in message and its text (up to the line's end); false
 * if there is none. */
static bool find_sqlstate(const char *message, char code[6], const char **text) {
  bool found = false;
  for (const char *p = message; (p = strstr(p, ":  ")); p++) {
    const char *candidate = p + 3;
    size_t n = strspn(candidate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (n != 5 || candidate[5] != ':' || candidate[6] != ' ') continue;
    memcpy(code, candidate, 5);
    code[5] = 0;
    *text = candidate + 7;
    found = true;
  }
  return found;
}

static const char *attempt_kind(const pg_attempt_t *attempt) {
  if (attempt->peer_gone || attempt->phase == CONNECTION_STARTED || attempt->phase == CONNECTION_MADE)
    return "network";
  /* a server that dislikes the client's certificate says so, in TLS 1.3, after the handshake */
  if (attempt->phase == CONNECTION_SSL_STARTUP || attempt->phase == CONNECTION_GSS_STARTUP ||
      attempt->encrypted)
    return "tls";
  return "protocol";
}

void pg_failure_of_attempt(failure_t *f, const PGconn *conn, const pg_attempt_t *attempt,
                           const char *candidate) {
  const char *message = PQerrorMessage(conn), *text;
  char code[6], line[400];
  if (find_sqlstate(message, code, &text)) {
    failure_set(f, "postgres", code, "%s answered %s: %.*s", candidate, code, (int)strcspn(text, "\n"), text);
    f->retryable = pg_sqlstate_is_retryable(code);
    return;
  }
  if (PQconnectionNeedsPassword(conn)) {
    failure_set(f, "postgres", "28P01", "%s asks for a password and none was given", candidate);
    return;
  }
  pg_error_line(line, sizeof line, message);
  failure_set(f, attempt_kind(attempt), NULL, "%s: %s", candidate, line);
  if (attempt->socket_error)
    uv_err_name_r(uv_translate_sys_error(attempt->socket_error), f->code, sizeof f->code);
  f->retryable = strcmp(f->kind, "network") == 0;
}
