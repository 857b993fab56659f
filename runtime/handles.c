#include "handles.h"

#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct visit {
  handle_visitor_t visit;
  void *data;
} visit_t;

static bool unix_path(const struct sockaddr_storage *address, socklen_t size, handle_info_t *info) {
  const struct sockaddr_un *un = (const struct sockaddr_un *)address;
  size_t offset = offsetof(struct sockaddr_un, sun_path);
  if (address->ss_family != AF_UNIX || size <= offset || !un->sun_path[0]) return false;
  snprintf(info->about, sizeof info->about, "unix %.*s", (int)strnlen(un->sun_path, size - offset),
           un->sun_path);
  return true;
}

static bool numeric(const struct sockaddr_storage *address, socklen_t size, handle_info_t *info) {
  char host[64], port[8];
  if (address->ss_family != AF_INET && address->ss_family != AF_INET6) return false;
  int flags = NI_NUMERICHOST | NI_NUMERICSERV;
  if (getnameinfo((const struct sockaddr *)address, size, host, sizeof host, port, sizeof port, flags) != 0)
    return false;
  snprintf(info->about, sizeof info->about, address->ss_family == AF_INET6 ? "tcp [%s]:%s" : "tcp %s:%s",
           host, port);
  return true;
}

/* The other end of a socket, or for one that listens its own; of anything else what the system calls it. */
static void about_descriptor(int fd, handle_info_t *info) {
  struct sockaddr_storage address = {0};
  socklen_t size = sizeof address;
  bool connected = getpeername(fd, (struct sockaddr *)&address, &size) == 0;
  if (connected && (unix_path(&address, size, info) || numeric(&address, size, info))) return;
  size = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
      (unix_path(&address, size, info) || numeric(&address, size, info)))
    return;
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, info->about, sizeof info->about - 1);
  info->about[n > 0 ? n : 0] = 0;
}

static void about_signal(int signo, handle_info_t *info) {
  const char *name = signo > 0 ? sigabbrev_np(signo) : NULL;
  if (name) snprintf(info->about, sizeof info->about, "SIG%s", name);
}

static void describe(uv_handle_t *handle, handle_info_t *info) {
  int fd;
  if (info->closing) return;
  switch (handle->type) {
  case UV_TIMER:
    if (info->active)
      snprintf(info->about, sizeof info->about, "due in %.3f s",
               (double)uv_timer_get_due_in((uv_timer_t *)handle) / 1e3);
    break;
  case UV_PROCESS:
    snprintf(info->about, sizeof info->about, "process %d", uv_process_get_pid((uv_process_t *)handle));
    break;
  case UV_SIGNAL: about_signal(((uv_signal_t *)handle)->signum, info); break;
  default:
    if (uv_fileno(handle, &fd) == 0) about_descriptor(fd, info);
  }
}

static void visit_one(uv_handle_t *handle, void *data) {
  const visit_t *v = data;
  const char *type = uv_handle_type_name(handle->type);
  handle_info_t info = {.handle = handle,
                        .type = type ? type : "unknown",
                        .active = uv_is_active(handle),
                        .referenced = uv_has_ref(handle),
                        .closing = uv_is_closing(handle)};
  describe(handle, &info);
  v->visit(&info, v->data);
}

void handles_visit(uv_loop_t *loop, handle_visitor_t visit, void *data) {
  visit_t v = {visit, data};
  uv_walk(loop, visit_one, &v);
}
