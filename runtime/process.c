/* process.c - see process.h.
 *
 * The pipes are pipes, not the socket pairs that libuv would make: /dev/stdout and /dev/stderr cannot be opened by
 * the child when they are sockets, and shell scripts do that.
 */
#include "process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"

enum {
  KILL_AFTER_MS = 2000,  /* from SIGTERM to SIGKILL */
  DRAIN_MS = 1000,       /* for output that somebody else keeps open after the exit */
  GROUP_POLL_MS = 20,    /* nothing tells us of the end of a grandchild */
  READ_BYTES = 64 * 1024 /* a pipe's capacity */
};

typedef struct run run_t;

typedef struct capture {
  uv_pipe_t pipe;
  run_t *run;
  const char *name; /* "stdout", for messages */
  bytes_t text;
} capture_t;

struct run {
  op_t op;
  uv_process_t child;
  uv_timer_t timer;
  uv_pipe_t in;
  uv_write_t write;
  capture_t out, err;
  char *input;
  char *program; /* argv[0], for messages */
  size_t max_bytes;
  int handles;                   /* initialised and not yet closed; the operation is through at 0 */
  bool exited;                   /* the child has been reaped */
  bool terminating;              /* SIGTERM has been sent: output is read and thrown away */
  uint64_t kill_at, drain_until; /* loop time, ms */
  uint64_t started, ended;       /* ns */
  int code, signal;
};

static void run_settle(run_t *run);

static void on_closed(uv_handle_t *handle) {
  run_t *run = handle->data;
  if (--run->handles == 0) op_complete(&run->op);
}

static void run_close(uv_handle_t *handle) {
  /* type is unset in a handle that was never initialised: there may have been no input */
  if (handle->type != UV_UNKNOWN_HANDLE && !uv_is_closing(handle)) uv_close(handle, on_closed);
}

static void run_close_all(run_t *run) {
  run_close((uv_handle_t *)&run->child);
  run_close((uv_handle_t *)&run->timer);
  run_close((uv_handle_t *)&run->in);
  run_close((uv_handle_t *)&run->out.pipe);
  run_close((uv_handle_t *)&run->err.pipe);
}

static bool is_open(capture_t *capture) { return !uv_is_closing((uv_handle_t *)&capture->pipe); }

static void on_timer(uv_timer_t *timer) {
  run_t *run = timer->data;
  if (run->exited) {
    run_settle(run);
  } else {
    kill(-run->child.pid, SIGKILL);
  }
}

/* Once the child is gone: what else has to be waited for? */
static void run_settle(run_t *run) {
  if (!run->exited || uv_is_closing((uv_handle_t *)&run->timer)) return;
  uint64_t now = uv_now(run->timer.loop);
  /* the group's id cannot be anybody else's while the group has a member */
  if (run->terminating && kill(-run->child.pid, 0) == 0 && now < run->kill_at + DRAIN_MS) {
    if (now >= run->kill_at) kill(-run->child.pid, SIGKILL);
    uv_timer_start(&run->timer, on_timer, GROUP_POLL_MS, 0);
    return;
  }
  if ((is_open(&run->out) || is_open(&run->err)) && now < run->drain_until) {
    uv_timer_start(&run->timer, on_timer, run->drain_until - now, 0);
    return;
  }
  run_close_all(run);
}

static void run_terminate(run_t *run) {
  if (run->terminating || uv_is_closing((uv_handle_t *)&run->timer)) return;
  run->terminating = true;
  run->kill_at = uv_now(run->timer.loop) + KILL_AFTER_MS;
  kill(-run->child.pid, SIGTERM);
  if (run->exited) {
    run_settle(run);
  } else {
    uv_timer_start(&run->timer, on_timer, KILL_AFTER_MS, 0);
  }
}

static void on_exit_of_child(uv_process_t *child, int64_t status, int signal) {
  run_t *run = child->data;
  run->exited = true;
  run->ended = uv_hrtime();
  run->code = (int)status;
  run->signal = signal;
  run->drain_until = uv_now(child->loop) + DRAIN_MS;
  uv_timer_stop(&run->timer);
  run_settle(run);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  capture_t *capture = (capture_t *)handle;
  bytes_t *text = &capture->text;
  if (capture->run->terminating) text->size = 0;
  bool ok = text->room - text->size >= READ_BYTES || bytes_reserve(text, text->room * 2 + READ_BYTES);
  /* without room, on_read gets UV_ENOBUFS */
  *buf =
      ok ? uv_buf_init(text->data + text->size, (unsigned)(text->room - text->size)) : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  capture_t *capture = (capture_t *)stream;
  run_t *run = capture->run;
  failure_t *f = &run->op.failure;
  if (n >= 0) {
    capture->text.size += (size_t)n;
    if (capture->text.size <= run->max_bytes || run->terminating) return;
    failure_set(f, "limit", "max_bytes", "%s of %s passed the limit of %zu bytes; it was ended",
                capture->name, run->program, run->max_bytes);
  } else if (n == UV_EOF) {
    run_close((uv_handle_t *)stream);
    run_settle(run);
    return;
  } else if (!failure_is_set(f)) {
    failure_set_uv(f, n == UV_ENOBUFS ? "memory" : "system", (int)n, "reading the %s of %s", capture->name,
                   run->program);
  }
  f->outcome_unknown = true;
  if (n < 0) run_close((uv_handle_t *)stream);
  run_terminate(run);
}

static void on_written(uv_write_t *write, int status) {
  /* Any status: what the child does not want to read is no failure. Closing is its end of file. */
  run_close((uv_handle_t *)write->handle);
}

static void run_cancel(op_t *op) { run_terminate((run_t *)op); }

static void run_destroy(op_t *op) {
  run_t *run = (run_t *)op;
  bytes_free(&run->out.text);
  bytes_free(&run->err.text);
  free(run->input);
  free(run->program);
  free(run);
}

static const op_class_t run_class = {"process.run", run_cancel, run_destroy};

/* Copies the input; true also when there is none. */
static bool run_copy_input(run_t *run, const process_options_t *options) {
  if (!options->input) return true;
  run->input = malloc(options->input_size + 1);
  if (run->input) memcpy(run->input, options->input, options->input_size);
  return run->input != NULL;
}

static run_t *run_new(const process_options_t *options) {
  run_t *run = calloc(1, sizeof *run);
  if (!run) return NULL;
  op_init(&run->op, &run_class);
  run->op.mutates = true;
  run->max_bytes = options->max_bytes;
  run->program = strdup(options->spawn.argv[0]);
  if (run->program && run_copy_input(run, options)) return run;
  run_destroy(&run->op);
  return NULL;
}

static void run_adopt(run_t *run, uv_handle_t *handle) {
  handle->data = run;
  run->handles++;
}

/* A pipe to the child: ours is the pipe handle, the child's the descriptor *theirs, which the caller closes. */
static int run_pipe(run_t *run, uv_pipe_t *pipe, bool child_reads, int *theirs) {
  int fds[2];
  int e = uv_pipe(fds, child_reads ? 0 : UV_NONBLOCK_PIPE, child_reads ? UV_NONBLOCK_PIPE : 0);
  if (e) return e;
  int ours = fds[child_reads ? 1 : 0];
  *theirs = fds[child_reads ? 0 : 1];
  e = uv_pipe_open(pipe, ours);
  if (e) close(ours);
  return e;
}

static bool run_open_pipes(run_t *run, int stdio[3]) {
  int e = 0;
  if (run->input) e = run_pipe(run, &run->in, true, &stdio[0]);
  if (!e) e = run_pipe(run, &run->out.pipe, false, &stdio[1]);
  if (!e) e = run_pipe(run, &run->err.pipe, false, &stdio[2]);
  if (e) failure_set_uv(&run->op.failure, "process", e, "making the pipes of %s", run->program);
  return e == 0;
}

static void run_init_handles(run_t *run, uv_loop_t *loop) {
  uv_timer_init(loop, &run->timer);
  run_adopt(run, (uv_handle_t *)&run->timer);
  capture_t *captures[] = {&run->out, &run->err};
  for (int i = 0; i < 2; i++) {
    uv_pipe_init(loop, &captures[i]->pipe, 0);
    captures[i]->run = run;
    captures[i]->name = i == 0 ? "stdout" : "stderr";
    run_adopt(run, (uv_handle_t *)&captures[i]->pipe);
  }
  if (run->input) {
    uv_pipe_init(loop, &run->in, 0);
    run_adopt(run, (uv_handle_t *)&run->in);
  }
}

static void run_begin_io(run_t *run, size_t input_size) {
  uv_read_start((uv_stream_t *)&run->out.pipe, on_alloc, on_read);
  uv_read_start((uv_stream_t *)&run->err.pipe, on_alloc, on_read);
  if (!run->input) return;
  uv_buf_t buf = uv_buf_init(run->input, (unsigned)input_size);
  if (uv_write(&run->write, (uv_stream_t *)&run->in, &buf, 1, on_written) != 0)
    run_close((uv_handle_t *)&run->in);
}

op_t *process_run(uv_loop_t *loop, const process_options_t *options) {
  run_t *run = run_new(options);
  if (!run) return NULL;
  op_submit(&run->op);
  run_init_handles(run, loop);
  int stdio[3] = {-1, -1, -1};
  bool ok = run_open_pipes(run, stdio);
  if (ok) {
    run->started = uv_hrtime();
    ok = spawn_process(loop, &run->child, &options->spawn, stdio, on_exit_of_child, &run->op.failure);
    run_adopt(run, (uv_handle_t *)&run->child);
  }
  for (int i = 0; i < 3; i++) {
    if (stdio[i] >= 0) close(stdio[i]);
  }
  if (ok) {
    run_begin_io(run, options->input_size);
  } else {
    run_close_all(run);
  }
  return &run->op;
}

process_result_t process_result(const op_t *op) {
  const run_t *run = (const run_t *)op;
  return (process_result_t){
      .code = run->code,
      .signal = run->signal,
      .out = run->out.text.data ? run->out.text.data : "",
      .err = run->err.text.data ? run->err.text.data : "",
      .out_size = run->out.text.size,
      .err_size = run->err.text.size,
      .seconds = (double)(run->ended - run->started) / 1e9,
  };
}
