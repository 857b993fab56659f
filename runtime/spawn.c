#include "spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* linux/close_range.h is younger than some libcs we build with */
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u
#endif

static void mark_open_descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));) {
    int fd = atoi(entry->d_name);
    if (fd > 2) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  closedir(dir);
}

/* Not every library opens its sockets close-on-exec, Lua's io.open does not, and whoever started us may have left
 * descriptors open. A child that inherits one keeps a connection, a lock or a pipe alive long after us. */
static void keep_descriptors_from_children(void) {
  if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) mark_open_descriptors(); /* Linux before 5.11 */
}

bool spawn_process(uv_loop_t *loop, uv_process_t *process, const spawn_options_t *options, const int stdio[3],
                   uv_exit_cb on_exit, failure_t *f) {
  uv_stdio_container_t containers[3];
  for (int i = 0; i < 3; i++) {
    containers[i].flags = stdio[i] < 0 ? UV_IGNORE : UV_INHERIT_FD;
    containers[i].data.fd = stdio[i];
  }
  uv_process_options_t o = {
      .exit_cb = on_exit,
      .file = options->argv[0],
      .args = (char **)options->argv,
      .env = (char **)options->env,
      .cwd = options->cwd,
      .flags = UV_PROCESS_DETACHED,
      .stdio_count = 3,
      .stdio = containers,
  };
  keep_descriptors_from_children();
  /* libuv knows no umask. Ours is process-wide, and a worker may be making a file meanwhile: harmless, because every
   * file we make names its mode, and a umask can only narrow it. */
  mode_t ours = 0;
  if (options->umask >= 0) ours = umask((mode_t)options->umask);
  int e = uv_spawn(loop, process, &o);
  if (options->umask >= 0) umask(ours);
  if (e == 0) return true;
  if (options->cwd) {
    failure_set_uv(f, "process", e, "starting %s in directory %s", options->argv[0], options->cwd);
  } else {
    failure_set_uv(f, "process", e, "starting %s", options->argv[0]);
  }
  f->retryable = e == UV_EAGAIN || e == UV_ENOMEM || e == UV_EMFILE || e == UV_ENFILE;
  return false;
}
