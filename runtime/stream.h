/* stream.h - connections over unix sockets: who listens, who connects, and the bytes between them.
 *
 * A listener's socket is made with mode 0600 and is removed from the file system when the listener is closed. Reading
 * is by demand: nothing is read ahead, so that a peer who sends without end fills the kernel's buffer and no more.
 * Each of the three is closed exactly once by who holds it; its memory is freed when libuv has let go. What waits for
 * one that is closed fails with kind "closed".
 */
#ifndef PGAFRUN_STREAM_H
#define PGAFRUN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "op.h"

typedef struct listener listener_t;
typedef struct stream stream_t;

/* Listens at path, which must not exist. background: it alone does not keep the loop alive. NULL on failure, f is
 * filled (kinds "network", "limit" for a path that is too long, "memory"). */
listener_t *listener_open(uv_loop_t *loop, const char *path, bool background, failure_t *f);
void listener_close(listener_t *listener);

/* Waits for the next connection. Failures: "network"; "system", code EBUSY, when another task waits already. NULL: no
 * memory. */
op_t *listener_accept(listener_t *listener);

/* Connects to path. Failures: "network" (ENOENT, ECONNREFUSED, EACCES ...), "limit". NULL: no memory. */
op_t *stream_connect(uv_loop_t *loop, const char *path);

/* Of an accept or connect that succeeded: the connection, which is the caller's to close. To be called once. */
stream_t *stream_made(op_t *op);

void stream_close(stream_t *stream);

/* Waits for bytes. Failures: "network"; "system", code EBUSY, when another task reads already. NULL: no memory. */
op_t *stream_read(stream_t *stream);
/* Of a read that succeeded: what came, which lives as long as the operation; size 0 at the end of the stream. */
const char *stream_bytes(const op_t *op, size_t *size);

/* Writes all of it, which is copied; done when the kernel has taken it. One that is cancelled may be written all the
 * same, or in part: the connection is then good for nothing but to be closed. NULL: no memory. */
op_t *stream_write(stream_t *stream, const char *data, size_t size);

typedef struct stream_peer {
  pid_t pid;
  uid_t uid;
  gid_t gid;
} stream_peer_t;

/* Who connected, or listens, as the kernel knows it: as it was at that time. False: f is filled. */
bool stream_peer(const stream_t *stream, stream_peer_t *peer, failure_t *f);

#endif
