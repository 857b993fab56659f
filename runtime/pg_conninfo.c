#include "pg_conninfo.h"

#include <libpq-fe.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONNECT_TIMEOUT 5.0

static const char *const target_names[] = {"any",     "read-write", "read-only",
                                           "primary", "standby",    "prefer-standby"};

const char *pg_target_name(pg_target_t target) { return target_names[target]; }

pg_conninfo_t *pg_conninfo_new(void) { return calloc(1, sizeof(pg_conninfo_t)); }

static void free_secret(char *text) {
  if (text) explicit_bzero(text, strlen(text));
  free(text);
}

static void hosts_free(pg_conninfo_t *info) {
  for (size_t i = 0; i < info->host_count; i++) {
    free(info->hosts[i].host);
    free(info->hosts[i].hostaddr);
    free(info->hosts[i].port);
  }
  free(info->hosts);
  info->hosts = NULL;
  info->host_count = 0;
}

void pg_conninfo_free(pg_conninfo_t *info) {
  if (!info) return;
  for (size_t i = 0; i < info->count; i++) {
    free(info->keywords[i]);
    free_secret(info->values[i]);
  }
  free(info->keywords);
  free(info->values);
  hosts_free(info);
  free(info);
}

static size_t find(const pg_conninfo_t *info, const char *keyword) {
  size_t i = 0;
  while (i < info->count && strcmp(info->keywords[i], keyword) != 0) i++;
  return i;
}

const char *pg_conninfo_get(const pg_conninfo_t *info, const char *keyword) {
  size_t i = find(info, keyword);
  return i < info->count ? info->values[i] : NULL;
}

bool pg_conninfo_set(pg_conninfo_t *info, const char *keyword, const char *value) {
  char *copy = strdup(value);
  if (!copy) return false;
  size_t i = find(info, keyword);
  if (i < info->count) {
    free_secret(info->values[i]);
    info->values[i] = copy;
    return true;
  }
  char **keywords = realloc(info->keywords, (info->count + 1) * sizeof *keywords);
  if (keywords) info->keywords = keywords;
  char **values = realloc(info->values, (info->count + 1) * sizeof *values);
  if (values) info->values = values;
  char *name = strdup(keyword);
  if (!keywords || !values || !name) {
    free(name);
    free_secret(copy);
    return false;
  }
  info->keywords[info->count] = name;
  info->values[info->count++] = copy;
  return true;
}

static bool no_memory(failure_t *f) {
  failure_set(f, "memory", NULL, "no memory for connection parameters");
  return false;
}

/* libpq's message may quote any piece of the text, so it is shown only where no password can be in it. */
static bool may_hold_password(const char *text) { return strstr(text, "pass") || strchr(text, '@'); }

bool pg_conninfo_parse(pg_conninfo_t *info, const char *text, failure_t *f) {
  char *reason = NULL;
  PQconninfoOption *options = PQconninfoParse(text, &reason);
  if (!options) {
    if (!reason) return no_memory(f);
    bool secret = may_hold_password(text);
    failure_set(f, "data", NULL,
                "the connection string is neither a PostgreSQL URI nor a list of keywords: %.*s",
                secret ? 200 : (int)strcspn(reason, "\n"),
                secret ? "the place is not shown because the string may hold a password" : reason);
    PQfreemem(reason);
    return false;
  }
  bool stored = true;
  for (PQconninfoOption *o = options; o->keyword && stored; o++)
    if (o->val) stored = pg_conninfo_set(info, o->keyword, o->val);
  PQconninfoFree(options);
  return stored || no_memory(f);
}

/* What was given, else libpq's default (environment, service file, compiled in), else NULL; "" counts as
 * not given. */
static const char *value_or_default(const pg_conninfo_t *info, const PQconninfoOption *defaults,
                                    const char *keyword) {
  const char *value = pg_conninfo_get(info, keyword);
  if (value && *value) return value;
  for (const PQconninfoOption *o = defaults; o->keyword; o++)
    if (strcmp(o->keyword, keyword) == 0) return o->val && *o->val ? o->val : NULL;
  return NULL;
}

static bool is_keyword(const PQconninfoOption *defaults, const char *keyword) {
  for (const PQconninfoOption *o = defaults; o->keyword; o++)
    if (strcmp(o->keyword, keyword) == 0) return true;
  return false;
}

static size_t list_length(const char *list) {
  size_t n = 1;
  for (; list && *list; list++) n += *list == ',';
  return n;
}

/* Element i of a comma-separated list as a new string; NULL where it is empty (or without memory: *ok
 * false). */
static char *list_element(const char *list, size_t i, bool *ok) {
  while (list && i-- > 0) list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL;
  if (!list) return NULL;
  size_t length = strcspn(list, ",");
  if (length == 0) return NULL;
  char *element = strndup(list, length);
  if (!element) *ok = false;
  return element;
}

static bool plan_hosts(pg_conninfo_t *info, const PQconninfoOption *defaults, failure_t *f) {
  const char *host = value_or_default(info, defaults, "host");
  const char *hostaddr = value_or_default(info, defaults, "hostaddr");
  const char *port = value_or_default(info, defaults, "port");
  size_t n = list_length(hostaddr ? hostaddr : host), ports = list_length(port);
  if (host && hostaddr && list_length(host) != n) {
    failure_set(f, "data", NULL,
                "%zu names in host but %zu addresses in hostaddr: each address needs its host",
                list_length(host), n);
    return false;
  }
  if (ports != 1 && ports != n) {
    failure_set(f, "data", NULL, "%zu ports for %zu hosts: give one port, or one for each host", ports, n);
    return false;
  }
  hosts_free(info);
  info->hosts = calloc(n, sizeof *info->hosts);
  if (!info->hosts) return no_memory(f);
  info->host_count = n;
  bool ok = true;
  for (size_t i = 0; i < n; i++) {
    pg_host_t *h = &info->hosts[i];
    h->host = list_element(host, i, &ok);
    h->hostaddr = list_element(hostaddr, i, &ok);
    h->port = list_element(port, ports == 1 ? 0 : i, &ok);
    if (!h->port) h->port = strdup("5432");
    if (!h->port) ok = false;
  }
  return ok || no_memory(f);
}

static bool plan_timeout(pg_conninfo_t *info, const PQconninfoOption *defaults, failure_t *f) {
  const char *text = value_or_default(info, defaults, "connect_timeout");
  info->connect_timeout = DEFAULT_CONNECT_TIMEOUT;
  if (!text) return true;
  char *end;
  double seconds = strtod(text, &end);
  if (end == text || *end || !isfinite(seconds) || seconds > 1e6) {
    failure_set(f, "data", NULL, "connect_timeout is \"%s\"; it must be a number of seconds", text);
    return false;
  }
  info->connect_timeout = seconds > 0 ? seconds : 0;
  return true;
}

static bool plan_target(pg_conninfo_t *info, const PQconninfoOption *defaults, failure_t *f) {
  const char *text = value_or_default(info, defaults, "target_session_attrs");
  info->target = PG_TARGET_ANY;
  if (!text) return true;
  for (size_t i = 0; i < sizeof target_names / sizeof *target_names; i++)
    if (strcmp(text, target_names[i]) == 0) {
      info->target = (pg_target_t)i;
      return true;
    }
  failure_set(f, "data", NULL,
              "target_session_attrs is \"%s\"; it must be any, read-write, read-only, primary, standby or "
              "prefer-standby",
              text);
  return false;
}

static bool plan_keywords(const pg_conninfo_t *info, const PQconninfoOption *defaults, failure_t *f) {
  for (size_t i = 0; i < info->count; i++) {
    if (!is_keyword(defaults, info->keywords[i])) {
      failure_set(f, "data", NULL, "\"%s\" is no connection keyword of libpq %d", info->keywords[i],
                  PQlibVersion() / 10000);
      return false;
    }
    if (strcmp(info->keywords[i], "service") == 0 && *info->values[i]) {
      failure_set(f, "data", NULL,
                  "a service inside a connection string is not supported: set PGSERVICE, or give host, "
                  "port and dbname");
      return false;
    }
  }
  return true;
}

bool pg_conninfo_plan(pg_conninfo_t *info, failure_t *f) {
  PQconninfoOption *defaults = PQconndefaults();
  if (!defaults) return no_memory(f);
  bool ok = plan_keywords(info, defaults, f) && plan_timeout(info, defaults, f) &&
            plan_target(info, defaults, f) && plan_hosts(info, defaults, f);
  PQconninfoFree(defaults);
  return ok;
}
