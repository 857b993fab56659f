#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct wait wait_t;

struct child {
  uv_process_t process;
  bool exited;
  child_status_t status;
  wait_t *waits;
};

struct wait {
  op_t op;
  child_t *child; /* NULL once the child was released or the wait is through */
  wait_t *next;
  child_status_t status;
};

static void wait_finish(wait_t *wait, child_status_t status) {
  wait->child = NULL;
  wait->status = status;
  op_complete(&wait->op);
}

static void wait_cancel(op_t *op) {
  wait_t *wait = (wait_t *)op;
  child_t *child = wait->child;
  if (child) {
    wait_t **link = &child->waits;
    while (*link != wait) link = &(*link)->next;
    *link = wait->next;
    if (!child->waits) uv_unref((uv_handle_t *)&child->process);
  }
  op_complete(op);
}

static void wait_destroy(op_t *op) { free(op); }

static const op_class_t wait_class = {"process.wait", wait_cancel, wait_destroy};

static void on_exit_of_child(uv_process_t *process, int64_t code, int signal) {
  child_t *child = process->data;
  child->exited = true;
  child->status = (child_status_t){(int)code, signal};
  while (child->waits) {
    wait_t *wait = child->waits;
    child->waits = wait->next;
    wait_finish(wait, child->status);
  }
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

child_t *child_start(uv_loop_t *loop, const spawn_options_t *options, const char *output, failure_t *f) {
  child_t *child = calloc(1, sizeof *child);
  if (!child) {
    failure_set_uv(f, "memory", UV_ENOMEM, "starting %s", options->argv[0]);
    return NULL;
  }
  int fd = open(output, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) {
    failure_set_uv(f, "file", uv_translate_sys_error(errno), "opening %s for the output of %s", output,
                   options->argv[0]);
    free(child);
    return NULL;
  }
  bool ok = spawn_process(loop, &child->process, options, (int[3]){-1, fd, fd}, on_exit_of_child, f);
  close(fd);
  child->process.data = child;
  if (!ok) {
    uv_close((uv_handle_t *)&child->process, on_closed);
    return NULL;
  }
  uv_unref((uv_handle_t *)&child->process);
  return child;
}

int child_pid(const child_t *child) { return child->process.pid; }

bool child_has_exited(const child_t *child) { return child->exited; }

op_t *child_wait(child_t *child) {
  wait_t *wait = calloc(1, sizeof *wait);
  if (!wait) return NULL;
  op_init(&wait->op, &wait_class);
  op_submit(&wait->op);
  if (child->exited) {
    wait_finish(wait, child->status);
    return &wait->op;
  }
  wait->child = child;
  wait->next = child->waits;
  child->waits = wait;
  uv_ref((uv_handle_t *)&child->process);
  return &wait->op;
}

child_status_t child_status(const op_t *op) { return ((const wait_t *)op)->status; }

void child_release(child_t *child) {
  for (wait_t *wait = child->waits; wait; wait = wait->next) wait->child = NULL;
  child->waits = NULL;
  uv_close((uv_handle_t *)&child->process, on_closed);
}
