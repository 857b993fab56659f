/* net.h - names and reachability. Names are looked up in libuv's thread pool, by the system's own rules. */
#ifndef PGAFRUN_NET_H
#define PGAFRUN_NET_H

#include <stdint.h>
#include <uv.h>

#include "op.h"

/* Can a TCP connection be made to port of address (a name or an IP) within this time? All addresses of a name are tried
 * at once, the first to answer decides. "No" is a result; there are no failures. NULL: no memory. */
op_t *net_probe(uv_loop_t *loop, const char *address, uint16_t port, uint64_t timeout_ms);

/* Of a probe: NULL when the connection was made, else the reason: ECONNREFUSED, ETIMEDOUT, EAI_NONAME ... */
const char *net_probe_refusal(const op_t *op);

/* The addresses of a name. Failures: "network", code EAI_NONAME and the like. NULL: no memory. */
op_t *net_resolve(uv_loop_t *loop, const char *name);

/* Of a resolve that succeeded: address number i as text, or NULL behind the last. Lives as long as the operation. */
const char *net_resolved(const op_t *op, size_t i);

#endif
