/* pg_address.c - a host's name to numeric addresses, in libuv's threads: libpq itself would block the
 * loop. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "pg_internal.h"

struct pg_resolve {
  uv_getaddrinfo_t request;
  void *owner;
  pg_resolve_cb done; /* NULL once abandoned */
};

bool pg_address_is_numeric(const char *text) {
  unsigned char binary[sizeof(struct in6_addr)];
  return inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1;
}

void pg_addresses_free(pg_addresses_t *addresses) {
  for (size_t i = 0; i < addresses->count; i++) free(addresses->list[i]);
  free(addresses->list);
  *addresses = (pg_addresses_t){0};
}

bool pg_addresses_add(pg_addresses_t *addresses, const char *address) {
  for (size_t i = 0; i < addresses->count; i++)
    if (strcmp(addresses->list[i], address) == 0) return true;
  char **list = realloc(addresses->list, (addresses->count + 1) * sizeof *list);
  if (!list) return false;
  addresses->list = list;
  list[addresses->count] = strdup(address);
  if (!list[addresses->count]) return false;
  addresses->count++;
  return true;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *result) {
  pg_resolve_t *r = (pg_resolve_t *)request;
  pg_addresses_t addresses = {0};
  if (r->done) {
    for (const struct addrinfo *a = status == 0 ? result : NULL; a && status == 0; a = a->ai_next) {
      char text[NI_MAXHOST]; /* getnameinfo, unlike uv_ip6_name, keeps the zone of a link-local address */
      if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0) continue;
      if (!pg_addresses_add(&addresses, text)) status = UV_ENOMEM;
    }
    if (status == 0 && addresses.count == 0) status = UV_EAI_NODATA;
    if (status != 0) pg_addresses_free(&addresses);
    r->done(r->owner, status, addresses);
  }
  uv_freeaddrinfo(result);
  free(r);
}

int pg_resolve_start(uv_loop_t *loop, const char *name, void *owner, pg_resolve_cb done,
                     pg_resolve_t **resolve) {
  pg_resolve_t *r = calloc(1, sizeof *r);
  if (!r) return UV_ENOMEM;
  r->owner = owner;
  r->done = done;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
  int error = uv_getaddrinfo(loop, &r->request, on_resolved, name, NULL, &hints);
  if (error) {
    free(r);
    return error;
  }
  *resolve = r;
  return 0;
}

void pg_resolve_abandon(pg_resolve_t *resolve) {
  resolve->done = NULL;
  uv_cancel((uv_req_t *)&resolve->request); /* refused when a thread is at it; then its result is dropped */
}
