#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { READ_BYTES = 16 * 1024, BACKLOG = 16 };

typedef struct accept accept_t;
typedef struct read read_t;

struct stream {
  uv_pipe_t pipe;
  read_t *reading;
};

struct listener {
  uv_pipe_t pipe;
  accept_t *accepting;
  bool ready; /* libuv holds a connection that nobody has asked for yet */
};

struct accept {
  op_t op;
  listener_t *listener;
  stream_t *stream; /* NULL until made, and when taken */
};

typedef struct dial {
  op_t op;
  uv_connect_t request;
  stream_t *stream;
} dial_t;

struct read {
  op_t op;
  stream_t *stream;
  size_t size;
  char data[READ_BYTES];
};

typedef struct write {
  op_t op;
  uv_write_t request;
  char data[];
} write_t;

static void fail_closed(failure_t *f, const char *what) {
  failure_set(f, "closed", "closed", "%s was closed meanwhile", what);
}

static bool path_fits(const char *path, failure_t *f) {
  size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
  if (strlen(path) <= most) return true;
  failure_set(f, "limit", "ENAMETOOLONG", "the path of a unix socket has at most %zu bytes: %s", most, path);
  return false;
}

/* --- the life of a connection ---------------------------------------------------------------------------- */

static void on_stream_closed(uv_handle_t *handle) { free(handle->data); }

static stream_t *stream_new(uv_loop_t *loop) {
  stream_t *stream = calloc(1, sizeof *stream);
  if (!stream) return NULL;
  if (uv_pipe_init(loop, &stream->pipe, 0) != 0) {
    free(stream);
    return NULL;
  }
  stream->pipe.data = stream;
  return stream;
}

void stream_close(stream_t *stream) {
  read_t *reading = stream->reading;
  stream->reading = NULL;
  uv_close((uv_handle_t *)&stream->pipe, on_stream_closed);
  if (!reading) return;
  fail_closed(&reading->op.failure, "the connection");
  op_complete(&reading->op);
}

bool stream_peer(const stream_t *stream, stream_peer_t *peer, failure_t *f) {
  int fd;
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  int e = uv_fileno((const uv_handle_t *)&stream->pipe, &fd);
  if (e == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) e = -errno;
  if (e) {
    failure_set_uv(f, "network", e, "asking who is at the other end of a unix socket");
    return false;
  }
  *peer = (stream_peer_t){credentials.pid, credentials.uid, credentials.gid};
  return true;
}

/* --- listening ------------------------------------------------------------------------------------------- */

static void on_listener_closed(uv_handle_t *handle) { free(handle->data); }

static void accept_finish(accept_t *accept, int error) {
  listener_t *listener = accept->listener;
  listener->accepting = NULL;
  if (!error) accept->stream = stream_new(listener->pipe.loop);
  if (accept->stream) {
    listener->ready = false;
    error = uv_accept((uv_stream_t *)&listener->pipe, (uv_stream_t *)&accept->stream->pipe);
  } else if (!error) {
    error = UV_ENOMEM; /* libuv keeps the connection for the next who asks */
  }
  if (error) failure_set_uv(&accept->op.failure, "network", error, "accepting a connection");
  op_complete(&accept->op);
}

static void on_connection(uv_stream_t *pipe, int status) {
  listener_t *listener = pipe->data;
  if (status == 0) listener->ready = true;
  if (listener->accepting) accept_finish(listener->accepting, status);
}

listener_t *listener_open(uv_loop_t *loop, const char *path, bool background, failure_t *f) {
  if (!path_fits(path, f)) return NULL;
  listener_t *listener = calloc(1, sizeof *listener);
  int e = listener ? uv_pipe_init(loop, &listener->pipe, 0) : UV_ENOMEM;
  if (e) {
    failure_set_uv(f, "network", e, "listening at %s", path);
    free(listener);
    return NULL;
  }
  listener->pipe.data = listener;
  e = uv_pipe_bind(&listener->pipe, path);
  if (!e && chmod(path, S_IRUSR | S_IWUSR) != 0) e = uv_translate_sys_error(errno);
  if (!e) e = uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, on_connection);
  if (e) {
    failure_set_uv(f, "network", e, "listening at %s", path);
    listener_close(listener);
    return NULL;
  }
  if (background) uv_unref((uv_handle_t *)&listener->pipe);
  return listener;
}

void listener_close(listener_t *listener) {
  accept_t *accept = listener->accepting;
  listener->accepting = NULL;
  uv_close((uv_handle_t *)&listener->pipe, on_listener_closed); /* which removes the socket's name */
  if (!accept) return;
  fail_closed(&accept->op.failure, "the listener");
  op_complete(&accept->op);
}

static void accept_cancel(op_t *op) {
  accept_t *accept = (accept_t *)op;
  accept->listener->accepting = NULL;
  op_complete(op);
}

static void accept_destroy(op_t *op) {
  accept_t *accept = (accept_t *)op;
  if (accept->stream) stream_close(accept->stream);
  free(accept);
}

static const op_class_t accept_class = {"listener:accept", accept_cancel, accept_destroy};

op_t *listener_accept(listener_t *listener) {
  accept_t *accept = calloc(1, sizeof *accept);
  if (!accept) return NULL;
  op_init(&accept->op, &accept_class);
  op_submit(&accept->op);
  accept->listener = listener;
  if (listener->accepting) {
    failure_set_uv(&accept->op.failure, "system", UV_EBUSY, "another task waits for a connection already");
    op_complete(&accept->op);
    return &accept->op;
  }
  listener->accepting = accept;
  if (listener->ready) accept_finish(accept, 0);
  return &accept->op;
}

/* --- connecting ------------------------------------------------------------------------------------------ */

static void on_dialled(uv_connect_t *request, int status) {
  dial_t *dial = request->data;
  if (status && status != UV_ECANCELED)
    failure_set_uv(&dial->op.failure, "network", status, "connecting to a unix socket");
  if (status && dial->stream) {
    stream_close(dial->stream);
    dial->stream = NULL;
  }
  op_complete(&dial->op);
}

static void dial_cancel(op_t *op) {
  dial_t *dial = (dial_t *)op;
  stream_t *stream = dial->stream;
  dial->stream = NULL;
  stream_close(stream); /* then libuv calls back */
}

static void dial_destroy(op_t *op) {
  dial_t *dial = (dial_t *)op;
  if (dial->stream) stream_close(dial->stream);
  free(dial);
}

static const op_class_t dial_class = {"net.connect", dial_cancel, dial_destroy};

op_t *stream_connect(uv_loop_t *loop, const char *path) {
  dial_t *dial = calloc(1, sizeof *dial);
  if (!dial) return NULL;
  op_init(&dial->op, &dial_class);
  dial->stream = stream_new(loop);
  if (!dial->stream) {
    free(dial);
    return NULL;
  }
  op_submit(&dial->op);
  dial->request.data = dial;
  if (path_fits(path, &dial->op.failure)) {
    uv_pipe_connect(&dial->request, &dial->stream->pipe, path, on_dialled);
  } else {
    op_complete(&dial->op);
  }
  return &dial->op;
}

stream_t *stream_made(op_t *op) {
  stream_t **place = op->class == &accept_class ? &((accept_t *)op)->stream : &((dial_t *)op)->stream;
  stream_t *stream = *place;
  *place = NULL;
  return stream;
}

/* --- reading --------------------------------------------------------------------------------------------- */

static void read_finish(read_t *reading) {
  uv_read_stop((uv_stream_t *)&reading->stream->pipe);
  reading->stream->reading = NULL;
  op_complete(&reading->op);
}

static void on_room_wanted(uv_handle_t *handle, size_t suggested, uv_buf_t *room) {
  const stream_t *stream = handle->data;
  *room = uv_buf_init(stream->reading->data, READ_BYTES);
}

static void on_read(uv_stream_t *pipe, ssize_t n, const uv_buf_t *buffer) {
  const stream_t *stream = pipe->data;
  read_t *reading = stream->reading;
  if (n == 0) return; /* nothing after all */
  if (n > 0) reading->size = (size_t)n;
  if (n < 0 && n != UV_EOF)
    failure_set_uv(&reading->op.failure, "network", (int)n, "reading from a unix socket");
  read_finish(reading);
}

static void read_cancel(op_t *op) { read_finish((read_t *)op); }

static void stream_op_destroy(op_t *op) { free(op); }

static const op_class_t read_class = {"connection:read", read_cancel, stream_op_destroy};

op_t *stream_read(stream_t *stream) {
  read_t *reading = malloc(sizeof *reading);
  if (!reading) return NULL;
  op_init(&reading->op, &read_class);
  op_submit(&reading->op);
  reading->stream = stream;
  reading->size = 0;
  if (stream->reading) {
    failure_set_uv(&reading->op.failure, "system", UV_EBUSY, "another task reads this connection already");
    op_complete(&reading->op);
    return &reading->op;
  }
  stream->reading = reading;
  int e = uv_read_start((uv_stream_t *)&stream->pipe, on_room_wanted, on_read);
  if (e) {
    failure_set_uv(&reading->op.failure, "network", e, "reading from a unix socket");
    read_finish(reading);
  }
  return &reading->op;
}

const char *stream_bytes(const op_t *op, size_t *size) {
  const read_t *reading = (const read_t *)op;
  *size = reading->size;
  return reading->data;
}

/* --- writing --------------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int status) {
  write_t *writing = request->data;
  if (status == UV_ECANCELED) {
    fail_closed(&writing->op.failure, "the connection");
  } else if (status) {
    failure_set_uv(&writing->op.failure, "network", status, "writing to a unix socket");
  }
  op_complete(&writing->op);
}

/* libuv cannot take back a write: it ends when it is written, or when the connection is closed. */
static void write_cancel(op_t *op) {}

static const op_class_t write_class = {"connection:write", write_cancel, stream_op_destroy};

op_t *stream_write(stream_t *stream, const char *data, size_t size) {
  write_t *writing = malloc(sizeof *writing + size);
  if (!writing) return NULL;
  op_init(&writing->op, &write_class);
  op_submit(&writing->op);
  writing->op.mutates = true;
  writing->request.data = writing;
  memcpy(writing->data, data, size);
  uv_buf_t buffer = uv_buf_init(writing->data, (unsigned)size);
  int e = uv_write(&writing->request, (uv_stream_t *)&stream->pipe, &buffer, 1, on_written);
  if (e) {
    failure_set_uv(&writing->op.failure, "network", e, "writing to a unix socket");
    op_complete(&writing->op);
  }
  return &writing->op;
}
