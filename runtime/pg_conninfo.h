/* pg_conninfo.h - libpq's connection keywords, and the list of candidates that come from them.
 *
 * libpq resolves names and goes from host to host with blocking calls, so the lists of host, hostaddr and
 * port are split here and libpq is only ever given one candidate with its address.
 */
#ifndef PGAFRUN_PG_CONNINFO_H
#define PGAFRUN_PG_CONNINFO_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

typedef enum pg_target {
  PG_TARGET_ANY,
  PG_TARGET_READ_WRITE,
  PG_TARGET_READ_ONLY,
  PG_TARGET_PRIMARY,
  PG_TARGET_STANDBY,
  PG_TARGET_PREFER_STANDBY,
} pg_target_t;

/* One entry of the host list. host: name, address, directory of a unix socket, or NULL (libpq's default
 * directory). hostaddr: NULL unless given by the user. */
typedef struct pg_host {
  char *host, *hostaddr, *port;
} pg_host_t;

typedef struct pg_conninfo {
  char **keywords, **values;
  size_t count;
  /* filled in by pg_conninfo_plan */
  pg_host_t *hosts;
  size_t host_count;
  double connect_timeout; /* seconds for each candidate; 0: none */
  pg_target_t target;
} pg_conninfo_t;

/* NULL: no memory. */
pg_conninfo_t *pg_conninfo_new(void);
/* Sets one keyword; a later value replaces an earlier one. False: no memory. */
bool pg_conninfo_set(pg_conninfo_t *info, const char *keyword, const char *value);
const char *pg_conninfo_get(const pg_conninfo_t *info, const char *keyword);
/* Adds the keywords of a connection string or URI. On failure (kind data or memory) fills f; its message
 * never shows text that may be a password. */
bool pg_conninfo_parse(pg_conninfo_t *info, const char *text, failure_t *f);
/* Checks the keywords, takes defaults from libpq (PGHOST ...) and makes the list of hosts. Fails with kind
 * data. */
bool pg_conninfo_plan(pg_conninfo_t *info, failure_t *f);
/* Overwrites the values first: one may be a password. NULL is fine. */
void pg_conninfo_free(pg_conninfo_t *info);

const char *pg_target_name(pg_target_t target);

#endif
