/* tty.c - see tty.h.
 *
 * The terminal is opened anew for each line: then making it non-blocking concerns nobody who shares our standard input.
 * Bytes are read one by one, because what follows the line is not ours: it may be another reader's.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tty_mode.h"

enum { LINE_BYTES = 64 * 1024 };

typedef struct line {
  op_t op;
  uv_poll_t poll;
  uv_signal_t continued; /* SIGCONT: the shell has turned the echo on meanwhile; for secrets alone */
  int fd;
  int flags; /* of fd before libuv changed them: it may be shared; -1: none to put back */
  int handles;
  bool secret;
  bool over;
  bool whole; /* its end came */
  bool ended; /* the input did */
  size_t size;
  char *prompt;
  char text[LINE_BYTES];
} line_t;

bool tty_size(int fd, int *columns, int *rows) {
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return false;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return true;
}

/* --- echo ------------------------------------------------------------------------------------------------ */

static void show_prompt(const line_t *line) {
  if (!line->prompt) return;
  tty_put(isatty(line->fd) ? line->fd : STDERR_FILENO, line->prompt, strlen(line->prompt));
}

/* Echo off, what was typed before thrown away: it has been seen. */
static void silence(const line_t *line) {
  struct termios mode;
  if (tcgetattr(line->fd, &mode) != 0) return; /* no terminal */
  mode.c_lflag &= ~(tcflag_t)ECHO;
  mode.c_lflag |= ECHONL | ICANON | ISIG;
  tty_mode_set(line->fd, &mode, true, NULL);
}

static void on_continued(uv_signal_t *signal, int signo) {
  const line_t *line = signal->data;
  silence(line);
  show_prompt(line);
}

/* --- a line ---------------------------------------------------------------------------------------------- */

static void line_let_go(line_t *line) {
  if (--line->handles > 0) return;
  if (line->flags >= 0) fcntl(line->fd, F_SETFL, line->flags);
  close(line->fd);
  op_complete(&line->op);
}

static void on_closed(uv_handle_t *handle) { line_let_go(handle->data); }

static void line_finish(line_t *line) {
  if (line->over) return;
  line->over = true;
  if (tty_mode_is_changed()) {
    if (!line->whole) tty_put(line->fd, "\n", 1); /* or the next output stands behind the prompt */
    tty_restore();
  }
  tty_unclaim();
  if (line->poll.data) uv_close((uv_handle_t *)&line->poll, on_closed);
  if (line->continued.data) uv_close((uv_handle_t *)&line->continued, on_closed);
  line_let_go(line); /* the hold of who began */
}

/* Reads what there is, until the line's end. */
static void line_read(line_t *line) {
  for (;;) {
    char c;
    ssize_t n = read(line->fd, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) failure_set_uv(&line->op.failure, "system", uv_translate_sys_error(errno), "reading a line");
    if (n == 0) line->ended = true;
    if (n > 0 && c == '\n') line->whole = true;
    if (n <= 0 || line->whole) break;
    if (line->size == LINE_BYTES) {
      failure_set(&line->op.failure, "limit", "line", "a line of more than %d bytes was typed", LINE_BYTES);
      break;
    }
    line->text[line->size++] = c;
  }
  line_finish(line);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  line_t *line = poll->data;
  if (status < 0) {
    failure_set_uv(&line->op.failure, "system", status, "waiting for a line");
    line_finish(line);
  } else {
    line_read(line);
  }
}

static void line_cancel(op_t *op) { line_finish((line_t *)op); }

static void line_destroy(op_t *op) {
  line_t *line = (line_t *)op;
  explicit_bzero(line->text, line->size);
  free(line->prompt);
  free(line);
}

static const op_class_t line_class = {"tty.read_line", line_cancel, line_destroy};

/* The device, or the terminal that controls us, or standard input: then its flags are to be put back. */
static int line_open(line_t *line, const char *device) {
  line->flags = -1;
  line->fd = tty_open(device);
  if (line->fd < 0 && !device) {
    line->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (line->fd >= 0) line->flags = fcntl(line->fd, F_GETFL);
  }
  return line->fd < 0 ? uv_translate_sys_error(errno) : 0;
}

/* A file, or /dev/null, cannot be polled, and does not need to be: reading it does not wait. */
static void line_begin(line_t *line, uv_loop_t *loop) {
  if (line->secret && isatty(line->fd)) {
    silence(line);
    uv_signal_init(loop, &line->continued);
    line->continued.data = line;
    line->handles++;
    uv_signal_start(&line->continued, on_continued, SIGCONT);
  }
  show_prompt(line);
  int e = uv_poll_init(loop, &line->poll, line->fd);
  if (e == UV_EPERM) {
    line_read(line);
    return;
  }
  if (!e) {
    line->poll.data = line;
    line->handles++;
    e = uv_poll_start(&line->poll, UV_READABLE | UV_DISCONNECT, on_readable);
  }
  if (!e) return;
  failure_set_uv(&line->op.failure, "system", e, "waiting for a line");
  line_finish(line);
}

op_t *tty_read_line(uv_loop_t *loop, const tty_prompt_t *prompt) {
  line_t *line = calloc(1, sizeof *line);
  if (!line) return NULL;
  op_init(&line->op, &line_class);
  line->secret = prompt->secret;
  if (prompt->text && *prompt->text && !(line->prompt = strdup(prompt->text))) {
    line_destroy(&line->op);
    return NULL;
  }
  op_submit(&line->op);
  bool mine = tty_claim();
  int e = mine ? line_open(line, prompt->device) : UV_EBUSY;
  if (e) {
    failure_set_uv(&line->op.failure, "system", e, "%s",
                   mine ? "opening the terminal" : "another task has the terminal already");
    if (mine) tty_unclaim();
    op_complete(&line->op);
    return &line->op;
  }
  line->handles = 1;
  line_begin(line, loop);
  return &line->op;
}

const char *tty_line(const op_t *op, size_t *size) {
  const line_t *line = (const line_t *)op;
  *size = line->size;
  return line->ended && line->size == 0 ? NULL : line->text;
}

/* --- the size -------------------------------------------------------------------------------------------- */

typedef struct resize {
  op_t op;
  uv_signal_t signal;
} resize_t;

static void on_resize_closed(uv_handle_t *handle) { op_complete(handle->data); }

static void resize_close(resize_t *resize) {
  uv_handle_t *handle = (uv_handle_t *)&resize->signal;
  if (!uv_is_closing(handle)) uv_close(handle, on_resize_closed);
}

static void on_resize(uv_signal_t *signal, int signo) { resize_close(signal->data); }

static void resize_cancel(op_t *op) { resize_close((resize_t *)op); }

static void resize_destroy(op_t *op) { free(op); }

static const op_class_t resize_class = {"tty.wait_resize", resize_cancel, resize_destroy};

op_t *tty_resized(uv_loop_t *loop) {
  resize_t *resize = calloc(1, sizeof *resize);
  if (!resize) return NULL;
  op_init(&resize->op, &resize_class);
  op_submit(&resize->op);
  int e = uv_signal_init(loop, &resize->signal);
  if (e) {
    failure_set_uv(&resize->op.failure, "system", e, "watching the terminal's size");
    op_complete(&resize->op);
    return &resize->op;
  }
  resize->signal.data = resize;
  e = uv_signal_start(&resize->signal, on_resize, SIGWINCH);
  if (e) {
    failure_set_uv(&resize->op.failure, "system", e, "watching the terminal's size");
    resize_close(resize);
  }
  return &resize->op;
}
