#include "fs_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fs_job_cancel(op_t *op) {
  fs_job_t *job = (fs_job_t *)op;
  atomic_store(&job->abandoned, true);
  uv_cancel((uv_req_t *)&job->work); /* in vain when a worker has it; on_done comes in both cases */
}

void fs_job_destroy(op_t *op) {
  fs_job_t *job = (fs_job_t *)op;
  for (size_t i = 0; i < job->result.count; i++) free(job->result.names[i]);
  free(job->result.names);
  free(job->result.data);
  if (job->result.fd >= 0) close(job->result.fd);
  free(job->path);
  free(job->target);
  free(job->input);
  free(job);
}

fs_job_t *fs_job_new(const op_class_t *class, const char *verb, const char *path, fs_work_t run) {
  fs_job_t *job = calloc(1, sizeof *job);
  if (!job) return NULL;
  op_init(&job->op, class);
  job->verb = verb;
  job->run = run;
  job->result.fd = -1;
  job->path = strdup(path);
  if (!job->path) {
    fs_job_destroy(&job->op);
    return NULL;
  }
  return job;
}

bool fs_job_input(fs_job_t *job, const char *data, size_t size) {
  job->input = malloc(size + 1);
  if (!job->input) return false;
  memcpy(job->input, data, size);
  job->input_size = size;
  return true;
}

static void on_work(uv_work_t *work) {
  fs_job_t *job = work->data;
  failure_t *f = &job->op.failure;
  int e = job->run(job);
  if (e <= 0) return;
  const char *kind = e == ENOMEM ? "memory" : "file";
  if (job->target) {
    failure_set_uv(f, kind, uv_translate_sys_error(e), "%s %s to %s", job->verb, job->path, job->target);
  } else {
    failure_set_uv(f, kind, uv_translate_sys_error(e), "%s %s", job->verb, job->path);
  }
}

static void on_done(uv_work_t *work, int status) {
  fs_job_t *job = work->data;
  op_complete(&job->op);
}

op_t *fs_job_start(uv_loop_t *loop, fs_job_t *job, bool ready) {
  if (!job) return NULL;
  if (!ready) {
    fs_job_destroy(&job->op);
    return NULL;
  }
  op_submit(&job->op);
  job->work.data = job;
  uv_queue_work(loop, &job->work, on_work, on_done); /* fails only without a work function */
  return &job->op;
}

const fs_result_t *fs_result(const op_t *op) { return &((const fs_job_t *)op)->result; }

int fs_write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

int fs_sync_parent(const char *path) {
  const char *slash = strrchr(path, '/');
  size_t length = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
  char *parent = strndup(slash ? path : ".", length);
  if (!parent) return ENOMEM;
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(parent);
  /* A directory may be writable and not readable; then its name cannot be synced, and the change is made all the same. */
  if (fd < 0) return errno == EACCES ? 0 : errno;
  int e = fsync(fd) == 0 || errno == EINVAL ? 0 : errno; /* EINVAL: a file system without it */
  close(fd);
  return e;
}
