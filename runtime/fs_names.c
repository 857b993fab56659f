/* fs_names.c - what files are called: directories, links, modes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs_job.h"

static int run_stat(fs_job_t *job) {
  struct stat st;
  if (lstat(job->path, &st) != 0) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
  job->result.exists = true;
  job->result.stat = (fs_stat_t){
      .mode = st.st_mode,
      .size = (unsigned long long)st.st_size,
      .uid = st.st_uid,
      .gid = st.st_gid,
      .mtime = (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9,
  };
  return 0;
}

static const op_class_t stat_class = FS_CLASS("fs.stat");

op_t *fs_stat(uv_loop_t *loop, const char *path) {
  return fs_job_start(loop, fs_job_new(&stat_class, "looking at", path, run_stat), true);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

static int read_names(fs_result_t *r, DIR *dir) {
  size_t capacity = 0;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(dir);
    if (!entry) return errno;
    if (is_dot(entry->d_name)) continue;
    if (r->count == capacity) {
      capacity = capacity * 2 + 32;
      char **names = realloc(r->names, capacity * sizeof *names);
      if (!names) return ENOMEM;
      r->names = names;
    }
    if (!(r->names[r->count] = strdup(entry->d_name))) return ENOMEM;
    r->count++;
  }
}

static int run_list(fs_job_t *job) {
  DIR *dir = opendir(job->path);
  if (!dir) return errno;
  int e = read_names(&job->result, dir);
  closedir(dir);
  if (!e && job->result.count > 0) {
    qsort(job->result.names, job->result.count, sizeof *job->result.names, compare_names);
  }
  return e;
}

static const op_class_t list_class = FS_CLASS("fs.list");

op_t *fs_list(uv_loop_t *loop, const char *path) {
  return fs_job_start(loop, fs_job_new(&list_class, "listing", path, run_list), true);
}

/* One level. chmod, because mkdir's mode is narrowed by the umask; only when we made it. */
static int make_directory(const char *path, mode_t mode) {
  if (mkdir(path, mode) == 0) return chmod(path, mode) == 0 ? 0 : errno;
  int e = errno;
  struct stat st;
  /* On a read-only file system or in a foreign parent the error of mkdir is not EEXIST even when it is there. */
  if (stat(path, &st) == 0) return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
  return e;
}

static int run_mkdir(fs_job_t *job) {
  for (char *p = job->path + 1; *p; p++) {
    if (*p != '/' || p[-1] == '/') continue;
    *p = '\0';
    int e = make_directory(job->path, job->mode);
    *p = '/';
    if (e) return e;
  }
  return make_directory(job->path, job->mode);
}

static const op_class_t mkdir_class = FS_CLASS("fs.mkdir");

op_t *fs_mkdir(uv_loop_t *loop, const char *path, mode_t mode) {
  if (!*path) path = "."; /* run_mkdir looks behind the first character */
  fs_job_t *job = fs_job_new(&mkdir_class, "making directory", path, run_mkdir);
  if (job) {
    job->op.mutates = true;
    job->mode = mode;
  }
  return fs_job_start(loop, job, true);
}

/* With a slash behind its name, a link to a directory would be neither a file nor a directory to the system. */
static void strip_slashes(char *path) {
  for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = '\0';
}

static int run_remove(fs_job_t *job) {
  strip_slashes(job->path);
  if (unlink(job->path) == 0) return 0;
  if (errno == EISDIR && rmdir(job->path) == 0) return 0;
  return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
}

static const op_class_t remove_class = FS_CLASS("fs.remove");

op_t *fs_remove(uv_loop_t *loop, const char *path) {
  fs_job_t *job = fs_job_new(&remove_class, "removing", path, run_remove);
  if (job) job->op.mutates = true;
  return fs_job_start(loop, job, true);
}

/* Everything in the directory fd, which is closed. Goes by descriptors, so that a link put in the place of a directory
 * meanwhile leads nowhere. One descriptor a level: a tree deeper than the limit of open files fails with EMFILE. */
static int remove_contents(int fd, dev_t device) {
  struct stat st;
  int e = fstat(fd, &st) == 0 ? 0 : errno;
  if (!e && st.st_dev != device) e = EXDEV;
  DIR *dir = e ? NULL : fdopendir(fd);
  if (!dir) {
    if (!e) e = errno;
    close(fd);
    return e;
  }
  for (struct dirent *entry; !e && (errno = 0, entry = readdir(dir));) {
    if (is_dot(entry->d_name)) continue;
    if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR) {
      e = errno;
      break;
    }
    int child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    e = child < 0 ? errno : remove_contents(child, device);
    if (!e && unlinkat(fd, entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOENT) e = errno;
  }
  if (!e) e = errno; /* of readdir */
  closedir(dir);
  return e;
}

static int run_remove_tree(fs_job_t *job) {
  strip_slashes(job->path);
  const char *slash = strrchr(job->path, '/');
  if (is_dot(slash ? slash + 1 : job->path)) return EINVAL;
  if (unlink(job->path) == 0 || errno == ENOENT || errno == ENOTDIR) return 0;
  if (errno != EISDIR) return errno;
  int fd = open(job->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  struct stat st, root;
  int e = 0;
  if (fstat(fd, &st) != 0 || stat("/", &root) != 0) {
    e = errno;
  } else if (st.st_dev == root.st_dev && st.st_ino == root.st_ino) {
    e = EPERM;
  }
  if (e) {
    close(fd);
    return e;
  }
  e = remove_contents(fd, st.st_dev);
  if (!e && rmdir(job->path) != 0 && errno != ENOENT) e = errno;
  return e;
}

static const op_class_t remove_tree_class = FS_CLASS("fs.remove_tree");

op_t *fs_remove_tree(uv_loop_t *loop, const char *path) {
  fs_job_t *job = fs_job_new(&remove_tree_class, "removing the tree", path, run_remove_tree);
  if (job) job->op.mutates = true;
  return fs_job_start(loop, job, true);
}

static int run_rename(fs_job_t *job) { return rename(job->path, job->target) == 0 ? 0 : errno; }

static const op_class_t rename_class = FS_CLASS("fs.rename");

op_t *fs_rename(uv_loop_t *loop, const char *from, const char *to) {
  fs_job_t *job = fs_job_new(&rename_class, "renaming", from, run_rename);
  if (job) {
    job->op.mutates = true;
    job->target = strdup(to);
  }
  return fs_job_start(loop, job, job && job->target);
}

static int run_chmod(fs_job_t *job) { return chmod(job->path, job->mode) == 0 ? 0 : errno; }

static const op_class_t chmod_class = FS_CLASS("fs.chmod");

op_t *fs_chmod(uv_loop_t *loop, const char *path, mode_t mode) {
  fs_job_t *job = fs_job_new(&chmod_class, "changing the mode of", path, run_chmod);
  if (job) {
    job->op.mutates = true;
    job->mode = mode;
  }
  return fs_job_start(loop, job, true);
}

static int run_realpath(fs_job_t *job) {
  job->result.data = realpath(job->path, NULL);
  if (!job->result.data) return errno;
  job->result.size = strlen(job->result.data);
  return 0;
}

static const op_class_t realpath_class = FS_CLASS("fs.realpath");

op_t *fs_realpath(uv_loop_t *loop, const char *path) {
  return fs_job_start(loop, fs_job_new(&realpath_class, "resolving", path, run_realpath), true);
}

static int run_mkdtemp(fs_job_t *job) {
  size_t length = strlen(job->path);
  char *name = malloc(length + sizeof "XXXXXX");
  if (!name) return ENOMEM;
  memcpy(name, job->path, length);
  memcpy(name + length, "XXXXXX", sizeof "XXXXXX");
  job->result.data = name;
  job->result.size = length + 6;
  return mkdtemp(name) ? 0 : errno;
}

static const op_class_t mkdtemp_class = FS_CLASS("fs.mkdtemp");

op_t *fs_mkdtemp(uv_loop_t *loop, const char *path) {
  fs_job_t *job = fs_job_new(&mkdtemp_class, "making a directory named like", path, run_mkdtemp);
  if (job) job->op.mutates = true;
  return fs_job_start(loop, job, true);
}
