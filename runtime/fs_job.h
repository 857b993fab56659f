/* fs_job.h - what the files fs*.c share: one errand for a worker. */
#ifndef PGAFRUN_FS_JOB_H
#define PGAFRUN_FS_JOB_H

#include <stdatomic.h>

#include "fs.h"

typedef struct fs_job fs_job_t;

/* Runs in a worker: touches nothing but the job. Returns 0, or an errno that fs_job_run tells about, or -1 when it has
 * filled the failure itself. */
typedef int (*fs_work_t)(fs_job_t *job);

struct fs_job {
  op_t op;
  uv_work_t work;
  const char *verb; /* "reading", for messages */
  fs_work_t run;
  char *path;
  char *target; /* rename */
  char *input;  /* write, append, lock */
  size_t input_size;
  size_t max_bytes;
  mode_t mode;
  bool sync;
  atomic_bool abandoned; /* cancelled while running: a read that waits for a pipe gives up */
  fs_result_t result;
};

/* The class of an operation; they differ in their names only. */
#define FS_CLASS(name)                                                                                       \
  { name, fs_job_cancel, fs_job_destroy }
void fs_job_cancel(op_t *op);
void fs_job_destroy(op_t *op);

/* A job not yet started; NULL: no memory. */
fs_job_t *fs_job_new(const op_class_t *class, const char *verb, const char *path, fs_work_t run);
/* Copies data into the job; false: no memory. */
bool fs_job_input(fs_job_t *job, const char *data, size_t size);
/* Hands the job to a worker. job may be NULL, and is freed when ready is false: the result is NULL then. */
op_t *fs_job_start(uv_loop_t *loop, fs_job_t *job, bool ready);

/* For workers. All return 0 or an errno. */
int fs_write_all(int fd, const char *data, size_t size);
/* Syncs the directory that path is in, so that a name made or renamed there survives a crash. */
int fs_sync_parent(const char *path);

#endif
