#include "net.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  PROBE_ADDRESSES = 8,
  RESOLVED_ADDRESSES = 64,
  ADDRESS_BYTES = 64 /* an IPv6 address and the name of its interface */
};

typedef struct probe probe_t;

typedef struct attempt {
  uv_tcp_t tcp;
  uv_connect_t connect;
  probe_t *probe;
} attempt_t;

struct probe {
  op_t op;
  uv_timer_t timer;
  uv_getaddrinfo_t lookup;
  attempt_t attempts[PROBE_ADDRESSES];
  int count;        /* of attempts */
  int undecided;    /* of attempts */
  int pending;      /* handles and requests that libuv still knows */
  bool over;        /* the answer is known, or nobody wants it any more */
  char refusal[40]; /* "" when connected */
};

static void probe_let_go(probe_t *probe) {
  if (--probe->pending == 0) op_complete(&probe->op);
}

static void on_timer_closed(uv_handle_t *handle) { probe_let_go(handle->data); }

static void on_attempt_closed(uv_handle_t *handle) { probe_let_go(((attempt_t *)handle)->probe); }

static void probe_finish(probe_t *probe, int error) {
  if (probe->over) return;
  probe->over = true;
  if (error) uv_err_name_r(error, probe->refusal, sizeof probe->refusal);
  uv_close((uv_handle_t *)&probe->timer, on_timer_closed);
  for (int i = 0; i < probe->count; i++) {
    uv_handle_t *handle = (uv_handle_t *)&probe->attempts[i].tcp;
    if (!uv_is_closing(handle)) uv_close(handle, on_attempt_closed);
  }
  uv_cancel((uv_req_t *)&probe->lookup); /* in vain when it runs or is through: then its callback ends it */
}

static void on_timeout(uv_timer_t *timer) { probe_finish(timer->data, UV_ETIMEDOUT); }

static void on_connected(uv_connect_t *connect, int status) {
  attempt_t *attempt = (attempt_t *)connect->handle;
  probe_t *probe = attempt->probe;
  if (status == UV_ECANCELED) return; /* by uv_close */
  probe->undecided--;
  if (status == 0 || probe->undecided == 0) probe_finish(probe, status);
}

/* Returns what refused it at once, or 0. */
static int attempt_start(probe_t *probe, const struct sockaddr *address) {
  attempt_t *attempt = &probe->attempts[probe->count];
  attempt->probe = probe;
  int e = uv_tcp_init(probe->timer.loop, &attempt->tcp);
  if (e) return e;
  probe->count++;
  probe->pending++;
  e = uv_tcp_connect(&attempt->connect, &attempt->tcp, address, on_connected);
  if (e) {
    uv_close((uv_handle_t *)&attempt->tcp, on_attempt_closed);
    return e;
  }
  probe->undecided++;
  return 0;
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list) {
  probe_t *probe = lookup->data;
  int error = status;
  if (!probe->over) {
    for (struct addrinfo *a = list; a && probe->count < PROBE_ADDRESSES; a = a->ai_next) {
      int e = attempt_start(probe, a->ai_addr);
      if (e) error = e;
    }
    if (probe->undecided == 0) probe_finish(probe, error ? error : UV_EAI_NODATA);
  }
  uv_freeaddrinfo(list);
  probe_let_go(probe);
}

static void probe_cancel(op_t *op) { probe_finish((probe_t *)op, UV_ECANCELED); }

static void net_destroy(op_t *op) { free(op); }

static const op_class_t probe_class = {"net.probe", probe_cancel, net_destroy};

static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

op_t *net_probe(uv_loop_t *loop, const char *address, uint16_t port, uint64_t timeout_ms) {
  probe_t *probe = calloc(1, sizeof *probe);
  if (!probe) return NULL;
  op_init(&probe->op, &probe_class);
  op_submit(&probe->op);
  uv_timer_init(loop, &probe->timer);
  probe->timer.data = probe->lookup.data = probe;
  probe->pending = 2;
  uv_timer_start(&probe->timer, on_timeout, timeout_ms, 0);
  char service[8];
  snprintf(service, sizeof service, "%u", (unsigned)port);
  int e = uv_getaddrinfo(loop, &probe->lookup, on_lookup, address, service, &hints);
  if (e) {
    probe_finish(probe, e); /* a name too long, no memory: the lookup has not begun */
    probe_let_go(probe);
  }
  return &probe->op;
}

const char *net_probe_refusal(const op_t *op) {
  const probe_t *probe = (const probe_t *)op;
  return probe->refusal[0] ? probe->refusal : NULL;
}

typedef struct resolve {
  op_t op;
  uv_getaddrinfo_t lookup;
  size_t count;
  char name[256];
  char addresses[RESOLVED_ADDRESSES][ADDRESS_BYTES];
} resolve_t;

static void resolve_add(resolve_t *resolve, const struct addrinfo *a) {
  char *text = resolve->addresses[resolve->count];
  if (getnameinfo(a->ai_addr, a->ai_addrlen, text, ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST) != 0) return;
  for (size_t i = 0; i < resolve->count; i++) {
    if (strcmp(resolve->addresses[i], text) == 0) return;
  }
  resolve->count++;
}

static void on_resolved(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list) {
  resolve_t *resolve = lookup->data;
  for (struct addrinfo *a = list; a && resolve->count < RESOLVED_ADDRESSES; a = a->ai_next)
    resolve_add(resolve, a);
  uv_freeaddrinfo(list);
  if (status && status != UV_ECANCELED) {
    failure_t *f = &resolve->op.failure;
    failure_set_uv(f, "network", status, "resolving %s", resolve->name);
    f->retryable = status == UV_EAI_AGAIN || status == UV_EAI_MEMORY;
  }
  op_complete(&resolve->op);
}

static void resolve_cancel(op_t *op) { uv_cancel((uv_req_t *)&((resolve_t *)op)->lookup); }

static const op_class_t resolve_class = {"net.resolve", resolve_cancel, net_destroy};

op_t *net_resolve(uv_loop_t *loop, const char *name) {
  resolve_t *resolve = calloc(1, sizeof *resolve);
  if (!resolve) return NULL;
  op_init(&resolve->op, &resolve_class);
  op_submit(&resolve->op);
  resolve->lookup.data = resolve;
  snprintf(resolve->name, sizeof resolve->name, "%s", name);
  int e = uv_getaddrinfo(loop, &resolve->lookup, on_resolved, name, NULL, &hints);
  if (e) {
    failure_set_uv(&resolve->op.failure, "network", e, "resolving %s", name);
    op_complete(&resolve->op);
  }
  return &resolve->op;
}

const char *net_resolved(const op_t *op, size_t i) {
  const resolve_t *resolve = (const resolve_t *)op;
  return i < resolve->count ? resolve->addresses[i] : NULL;
}
