/* fs.h - files, by libuv's thread pool: one operation does its whole errand in one worker.
 *
 * Every path and every datum is copied. Every failure is of kind "file" (or "limit", "memory"), its code an errno name,
 * its message "VERB PATH: reason". What runs in a worker cannot be stopped: an errand that was cancelled before a
 * worker took it up does not happen, a later one runs to its end.
 */
#ifndef PGAFRUN_FS_H
#define PGAFRUN_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "op.h"

typedef struct fs_stat {
  mode_t mode; /* with the type: S_ISREG() ... */
  unsigned long long size;
  uid_t uid;
  gid_t gid;
  double mtime; /* seconds since 1970 */
} fs_stat_t;

/* Of an operation that succeeded; all memory is the operation's. */
typedef struct fs_result {
  char *data; /* read, realpath, mkdtemp; of a refused lock: its holder's text */
  size_t size;
  char **names; /* list: sorted by byte */
  size_t count;
  bool exists; /* stat */
  fs_stat_t stat;
  int fd; /* lock: -1 when it was refused */
} fs_result_t;

/* All of these return NULL when there is no memory for the operation itself. */

/* Reads to the end; also pipes and /proc. More than max_bytes is a failure of kind "limit". */
op_t *fs_read(uv_loop_t *loop, const char *path, size_t max_bytes);

/* Replaces path as a whole: a temporary file beside it, rename, and (with sync) both on disk on success. */
op_t *fs_write(uv_loop_t *loop, const char *path, const char *data, size_t size, mode_t mode, bool sync);

/* Appends; what could not be written whole is taken back. A new file has mode 0600. */
op_t *fs_append(uv_loop_t *loop, const char *path, const char *data, size_t size, bool sync);

/* Does not follow a link in the last place. */
op_t *fs_stat(uv_loop_t *loop, const char *path);

op_t *fs_list(uv_loop_t *loop, const char *path);

/* With its missing parents, all of this mode. */
op_t *fs_mkdir(uv_loop_t *loop, const char *path, mode_t mode);

/* A file, link or empty directory; one that is not there is removed already. */
op_t *fs_remove(uv_loop_t *loop, const char *path);

/* Whatever is there, links not followed. Refuses the root directory (EPERM), "." and ".." (EINVAL), and does not go into a file system mounted
 * inside (EXDEV). */
op_t *fs_remove_tree(uv_loop_t *loop, const char *path);

op_t *fs_rename(uv_loop_t *loop, const char *from, const char *to);
op_t *fs_chmod(uv_loop_t *loop, const char *path, mode_t mode);
op_t *fs_realpath(uv_loop_t *loop, const char *path);

/* path: what the directory's name begins with; six characters are added. Mode 0700. */
op_t *fs_mkdtemp(uv_loop_t *loop, const char *path);

/* Takes the exclusive lock on the file (made with mode 0600) and writes text into it, or finds it taken. */
op_t *fs_lock(uv_loop_t *loop, const char *path, const char *text, size_t size);

const fs_result_t *fs_result(const op_t *op);

/* The lock's descriptor (close-on-exec), from now on the caller's; -1 when it was refused. */
int fs_take_lock(op_t *op);

/* Gives a lock up: empties the file, so that nobody reads the name of a holder that is gone, and closes fd. */
void fs_unlock(int fd);

/* A file without a name that is gone with its descriptor (close-on-exec), for libraries that want a path: this process
 * finds it at /proc/self/fd/N. -1 and f: no memory or no descriptor. */
int fs_in_memory(const char *data, size_t size, failure_t *f);

#endif
