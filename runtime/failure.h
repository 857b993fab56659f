/* failure.h - why something did not work, as a value that needs no Lua.
 *
 * A transport fills one of these inside its operation; the bindings turn it into the structured error
 * that scripts see: { kind, operation, code, message, cause, retryable, outcome, where }.
 * kind is one word from a small closed set, so that scripts branch on it and never on text:
 *
 *   network    no connection, or one that broke          timeout    a time limit passed
 *   tls        certificate or handshake refused           cancelled  somebody asked to stop
 *   protocol   the peer broke the protocol                limit      a size limit was reached
 *   postgres   the server answered with an error          closed     the handle is closed already
 *   process    a child could not be started or failed     file       a file operation failed
 *   data       input could not be parsed                  memory     no memory
 *   system     anything else that the operating system refused
 */
#ifndef PGAFRUN_FAILURE_H
#define PGAFRUN_FAILURE_H

#include <stdbool.h>

typedef struct failure {
  const char *kind;     /* static string from the list above; NULL means no failure */
  char code[40];        /* the source's own code: "ECONNREFUSED", SQLSTATE "40P01", curl "28", ... */
  char message[600];    /* one sentence: what was being done, to whom, what came back */
  bool retryable;       /* the same call may succeed later without anybody's help */
  bool outcome_unknown; /* a change was sent and no answer came: re-read the state before acting again */
} failure_t;

/* Fills f; kind must be a static string; code may be NULL. Truncates what is too long. */
void failure_set(failure_t *f, const char *kind, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Fills f from a negative libuv error: code is its name, message "WHAT: TEXT". UV_ENOMEM is always "memory". */
void failure_set_uv(failure_t *f, const char *kind, int uv_error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static inline bool failure_is_set(const failure_t *f) { return f->kind != 0; }

#endif
