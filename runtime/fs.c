/* fs.c - the contents of files, and locks; names and directories are in fs_names.c. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs_job.h"

enum { READ_BYTES = 64 * 1024, PIPE_POLL_MS = 100, HOLDER_BYTES = 4096 };

/* read(2), but waits for what has no data yet (a pipe) in a way that an abandoned job gets out of. */
static ssize_t read_some(fs_job_t *job, int fd, char *to, size_t size) {
  for (;;) {
    ssize_t n = read(fd, to, size);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return -1;
    if (atomic_load(&job->abandoned)) {
      errno = ECANCELED;
      return -1;
    }
    poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PIPE_POLL_MS);
  }
}

/* Does not trust the size that the file states: it may grow, and /proc states none. One byte more than max_bytes is
 * read, to know. */
static int read_all(fs_job_t *job, int fd, size_t size_hint) {
  fs_result_t *r = &job->result;
  size_t capacity = 0;
  for (;;) {
    if (r->size == capacity) {
      capacity = capacity == 0 ? (size_hint < job->max_bytes ? size_hint : job->max_bytes) + 1 : capacity * 2;
      if (capacity < READ_BYTES && size_hint == 0) capacity = READ_BYTES;
      char *data = realloc(r->data, capacity);
      if (!data) return ENOMEM;
      r->data = data;
    }
    ssize_t n = read_some(job, fd, r->data + r->size, capacity - r->size);
    if (n < 0) return errno;
    if (n == 0) return 0;
    r->size += (size_t)n;
    if (r->size > job->max_bytes) {
      failure_set(&job->op.failure, "limit", "max_bytes", "reading %s: it has more than %zu bytes", job->path,
                  job->max_bytes);
      return -1;
    }
  }
}

static int run_read(fs_job_t *job) {
  int fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return errno;
  struct stat st;
  int e = fstat(fd, &st) == 0 ? 0 : errno;
  if (!e && S_ISDIR(st.st_mode)) e = EISDIR;
  if (!e) e = read_all(job, fd, (size_t)st.st_size);
  close(fd);
  return e;
}

static const op_class_t read_class = FS_CLASS("fs.read");

op_t *fs_read(uv_loop_t *loop, const char *path, size_t max_bytes) {
  fs_job_t *job = fs_job_new(&read_class, "reading", path, run_read);
  if (job) job->max_bytes = max_bytes;
  return fs_job_start(loop, job, true);
}

static int run_write(fs_job_t *job) {
  static const char suffix[] = ".XXXXXX";
  size_t length = strlen(job->path);
  char *temporary = malloc(length + sizeof suffix);
  if (!temporary) return ENOMEM;
  memcpy(temporary, job->path, length);
  memcpy(temporary + length, suffix, sizeof suffix);
  int fd = mkostemp(temporary, O_CLOEXEC);
  if (fd < 0) {
    int e = errno;
    free(temporary);
    return e;
  }
  int e = fs_write_all(fd, job->input, job->input_size);
  if (!e && fchmod(fd, job->mode) != 0) e = errno;
  if (!e && job->sync && fsync(fd) != 0) e = errno;
  if (close(fd) != 0 && !e) e = errno; /* NFS tells of a full disk here */
  if (!e && rename(temporary, job->path) != 0) e = errno;
  if (e) unlink(temporary);
  free(temporary);
  if (!e && job->sync) e = fs_sync_parent(job->path);
  return e;
}

static const op_class_t write_class = FS_CLASS("fs.write");

op_t *fs_write(uv_loop_t *loop, const char *path, const char *data, size_t size, mode_t mode, bool sync) {
  fs_job_t *job = fs_job_new(&write_class, "writing", path, run_write);
  if (job) {
    job->op.mutates = true;
    job->mode = mode;
    job->sync = sync;
  }
  return fs_job_start(loop, job, job && fs_job_input(job, data, size));
}

static int run_append(fs_job_t *job) {
  int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY;
  int fd = open(job->path, flags);
  bool created = fd < 0 && errno == ENOENT;
  if (created) fd = open(job->path, flags | O_CREAT, 0600);
  if (fd < 0) return errno;
  struct stat before;
  int e = fstat(fd, &before) == 0 ? 0 : errno;
  if (!e) e = fs_write_all(fd, job->input, job->input_size);
  if (e && S_ISREG(before.st_mode)) {
    /* Half a line would spoil the next one. Should another writer have come between, its line is worth more. */
    struct stat after;
    off_t limit = before.st_size + (off_t)job->input_size;
    if (fstat(fd, &after) == 0 && after.st_size < limit && ftruncate(fd, before.st_size) != 0) e = errno;
  }
  if (!e && job->sync && fsync(fd) != 0 && errno != EINVAL) e = errno; /* EINVAL: a pipe or a device */
  if (close(fd) != 0 && !e) e = errno;
  if (!e && job->sync && created) e = fs_sync_parent(job->path);
  return e;
}

static const op_class_t append_class = FS_CLASS("fs.append");

op_t *fs_append(uv_loop_t *loop, const char *path, const char *data, size_t size, bool sync) {
  fs_job_t *job = fs_job_new(&append_class, "appending to", path, run_append);
  if (job) {
    job->op.mutates = true;
    job->sync = sync;
  }
  return fs_job_start(loop, job, job && fs_job_input(job, data, size));
}

/* Is fd still the file that path names? Its last holder may have removed it before we got the lock. */
static bool is_current(int fd, const char *path) {
  struct stat ours, theirs;
  return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
         ours.st_ino == theirs.st_ino;
}

static int read_holder(fs_job_t *job, int fd) {
  fs_result_t *r = &job->result;
  r->data = malloc(HOLDER_BYTES);
  if (!r->data) return ENOMEM;
  ssize_t n = pread(fd, r->data, HOLDER_BYTES, 0);
  if (n < 0) return errno;
  r->size = (size_t)n;
  return 0;
}

static int run_lock(fs_job_t *job) {
  int fd, e;
  for (;;) {
    fd = open(job->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0) return errno;
    e = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (e || is_current(fd, job->path)) break;
    close(fd);
  }
  if (e == EWOULDBLOCK) {
    e = read_holder(job, fd);
    close(fd);
    return e;
  }
  if (!e && ftruncate(fd, 0) != 0) e = errno;
  if (!e) e = fs_write_all(fd, job->input, job->input_size);
  if (e) {
    close(fd);
  } else {
    job->result.fd = fd;
  }
  return e;
}

static const op_class_t lock_class = FS_CLASS("fs.lock");

op_t *fs_lock(uv_loop_t *loop, const char *path, const char *text, size_t size) {
  fs_job_t *job = fs_job_new(&lock_class, "locking", path, run_lock);
  return fs_job_start(loop, job, job && fs_job_input(job, text, size));
}

int fs_take_lock(op_t *op) {
  fs_result_t *r = &((fs_job_t *)op)->result;
  int fd = r->fd;
  r->fd = -1;
  return fd;
}

void fs_unlock(int fd) {
  (void)!ftruncate(fd, 0);
  close(fd);
}

/* --- without a name -------------------------------------------------------------------------------------- */

int fs_in_memory(const char *data, size_t size, failure_t *f) {
  int fd = memfd_create("pgafrun", MFD_CLOEXEC);
  while (fd >= 0 && size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      int e = errno;
      close(fd);
      errno = e;
      fd = -1;
      break;
    }
    data += n;
    size -= (size_t)n;
  }
  if (fd < 0) failure_set_uv(f, "file", uv_translate_sys_error(errno), "making a file in memory");
  return fd;
}
