#include "tty_raw.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tty.h"
#include "tty_mode.h"

enum { INPUT_BYTES = 256 };

typedef struct reading {
  op_t op;
  tty_raw_t *raw;
  tty_input_t input;
  size_t size;
  char bytes[INPUT_BYTES];
} reading_t;

typedef struct writing {
  op_t op;
  tty_raw_t *raw;
  size_t size, sent;
  char text[];
} writing_t;

struct tty_raw {
  uv_poll_t poll;
  uv_signal_t stopped;   /* SIGTSTP: the terminal goes back to the shell */
  uv_signal_t continued; /* SIGCONT */
  int fd;
  int handles; /* open ones; freed with the last */
  bool resumed;
  struct termios mode;
  char *enter, *leave;
  reading_t *reading; /* pending; NULL without */
  writing_t *writing;
};

static void on_ready(uv_poll_t *poll, int status, int events);

/* Looks for what somebody waits for. */
static void look(tty_raw_t *raw) {
  int events = (raw->reading ? UV_READABLE | UV_DISCONNECT : 0) | (raw->writing ? UV_WRITABLE : 0);
  if (events) {
    uv_poll_start(&raw->poll, events, on_ready);
  } else {
    uv_poll_stop(&raw->poll);
  }
}

/* --- typed ----------------------------------------------------------------------------------------------- */

static void reading_end(tty_raw_t *raw, tty_input_t input) {
  reading_t *reading = raw->reading;
  raw->reading = NULL;
  reading->input = input;
  look(raw);
  op_complete(&reading->op);
}

static void read_some(tty_raw_t *raw) {
  reading_t *reading = raw->reading;
  ssize_t n = read(raw->fd, reading->bytes, INPUT_BYTES);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  reading->size = n > 0 ? (size_t)n : 0;
  reading_end(raw, n > 0 ? TTY_TYPED : TTY_ENDED);
}

static void reading_cancel(op_t *op) {
  reading_t *reading = (reading_t *)op;
  reading->raw->reading = NULL;
  look(reading->raw);
  op_complete(op);
}

static void reading_destroy(op_t *op) { free(op); }

static const op_class_t reading_class = {"tty.read", reading_cancel, reading_destroy};

static bool is_busy(op_t *op, bool busy, const char *what) {
  if (!busy) return false;
  failure_set_uv(&op->failure, "system", UV_EBUSY, "another task %s the terminal already", what);
  op_complete(op);
  return true;
}

op_t *tty_raw_read(tty_raw_t *raw) {
  reading_t *reading = calloc(1, sizeof *reading);
  if (!reading) return NULL;
  op_init(&reading->op, &reading_class);
  reading->raw = raw;
  op_submit(&reading->op);
  if (is_busy(&reading->op, raw->reading, "reads")) return &reading->op;
  raw->reading = reading;
  if (raw->resumed) {
    raw->resumed = false;
    reading_end(raw, TTY_RESUMED);
  } else {
    look(raw);
  }
  return &reading->op;
}

tty_input_t tty_raw_input(const op_t *op, const char **bytes, size_t *size) {
  const reading_t *reading = (const reading_t *)op;
  *bytes = reading->bytes;
  *size = reading->size;
  return reading->input;
}

/* --- drawn ----------------------------------------------------------------------------------------------- */

/* True when it is over: all is written, or nothing can be any more. */
static bool write_some(writing_t *writing, int fd) {
  while (writing->sent < writing->size) {
    ssize_t n = write(fd, writing->text + writing->sent, writing->size - writing->sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0) {
      failure_set_uv(&writing->op.failure, "system", uv_translate_sys_error(n < 0 ? errno : EIO),
                     "writing to the terminal");
      return true;
    }
    writing->sent += (size_t)n;
  }
  return true;
}

static void writing_cancel(op_t *op) {
  writing_t *writing = (writing_t *)op;
  writing->raw->writing = NULL;
  look(writing->raw);
  op_complete(op);
}

static void writing_destroy(op_t *op) { free(op); }

static const op_class_t writing_class = {"tty.write", writing_cancel, writing_destroy};

op_t *tty_raw_write(tty_raw_t *raw, const char *text, size_t size) {
  writing_t *writing = malloc(sizeof *writing + size);
  if (!writing) return NULL;
  memset(writing, 0, sizeof *writing);
  op_init(&writing->op, &writing_class);
  writing->raw = raw;
  writing->size = size;
  memcpy(writing->text, text, size);
  op_submit(&writing->op);
  if (is_busy(&writing->op, raw->writing, "writes to")) return &writing->op;
  if (write_some(writing, raw->fd)) {
    op_complete(&writing->op);
  } else {
    raw->writing = writing;
    look(raw);
  }
  return &writing->op;
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  tty_raw_t *raw = poll->data;
  /* a terminal that hung up is readable and writable, and tells so in the attempt */
  if (raw->reading && (status < 0 || events & (UV_READABLE | UV_DISCONNECT))) read_some(raw);
  if (raw->writing && (status < 0 || events & UV_WRITABLE) && write_some(raw->writing, raw->fd)) {
    writing_t *writing = raw->writing;
    raw->writing = NULL;
    look(raw);
    op_complete(&writing->op);
  }
}

/* --- life ------------------------------------------------------------------------------------------------ */

static void take_over(tty_raw_t *raw) {
  tty_hold_errors();
  tty_mode_set(raw->fd, &raw->mode, false, raw->leave);
  if (raw->enter) tty_put(raw->fd, raw->enter, strlen(raw->enter));
}

static void on_stopped(uv_signal_t *signal, int signo) {
  tty_restore();
  raise(SIGSTOP);
  take_over(signal->data); /* before anybody else draws: the shell's screen is not ours */
}

static void on_continued(uv_signal_t *signal, int signo) {
  tty_raw_t *raw = signal->data;
  if (tty_mode_is_changed()) {
    /* entered once more, a terminal forgets where its cursor was before */
    tty_mode_set(raw->fd, &raw->mode, false, raw->leave);
  } else {
    take_over(raw);
  }
  raw->resumed = true;
  if (raw->reading) {
    raw->resumed = false;
    reading_end(raw, TTY_RESUMED);
  }
}

static void raw_free(tty_raw_t *raw) {
  if (raw->fd >= 0) close(raw->fd);
  free(raw->enter);
  free(raw->leave);
  free(raw);
}

static void on_closed(uv_handle_t *handle) {
  tty_raw_t *raw = handle->data;
  if (--raw->handles == 0) raw_free(raw);
}

/* Opens the terminal and learns its mode; what was typed before is not lost. */
static int raw_device(tty_raw_t *raw, const char *device) {
  raw->fd = tty_open(device);
  if (raw->fd < 0 || tcgetattr(raw->fd, &raw->mode) != 0) return uv_translate_sys_error(errno);
  raw->mode.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | IGNCR | ISTRIP | BRKINT | PARMRK);
  raw->mode.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
  raw->mode.c_lflag |= ISIG;
  raw->mode.c_cc[VQUIT] = _POSIX_VDISABLE; /* Ctrl-\ would end us without a word */
  raw->mode.c_cc[VMIN] = 1;
  raw->mode.c_cc[VTIME] = 0;
  return 0;
}

static int raw_handles(tty_raw_t *raw, uv_loop_t *loop) {
  int e = uv_poll_init(loop, &raw->poll, raw->fd);
  if (e) return e;
  raw->handles = 1;
  raw->poll.data = raw;
  uv_signal_t *const signals[] = {&raw->stopped, &raw->continued};
  for (int i = 0; i < 2; i++) {
    e = uv_signal_init(loop, signals[i]);
    if (e) return e;
    raw->handles++;
    signals[i]->data = raw;
    e = uv_signal_start(signals[i], i == 0 ? on_stopped : on_continued, i == 0 ? SIGTSTP : SIGCONT);
    if (e) return e;
    uv_unref((uv_handle_t *)signals[i]);
  }
  return 0;
}

static void raw_release(tty_raw_t *raw) {
  tty_unclaim();
  if (raw->handles == 0) {
    raw_free(raw);
    return;
  }
  uv_close((uv_handle_t *)&raw->poll, on_closed);
  if (raw->stopped.data) uv_close((uv_handle_t *)&raw->stopped, on_closed);
  if (raw->continued.data) uv_close((uv_handle_t *)&raw->continued, on_closed);
}

tty_raw_t *tty_raw_open(uv_loop_t *loop, const tty_raw_options_t *options, failure_t *f) {
  tty_raw_t *raw = calloc(1, sizeof *raw);
  if (raw) raw->fd = -1;
  bool copied = raw && (!options->enter || (raw->enter = strdup(options->enter))) &&
                (!options->leave || (raw->leave = strdup(options->leave)));
  if (!copied) {
    if (raw) raw_free(raw);
    failure_set_uv(f, "memory", UV_ENOMEM, "taking the terminal");
    return NULL;
  }
  if (!tty_claim()) {
    raw_free(raw);
    failure_set_uv(f, "system", UV_EBUSY, "another task has the terminal already");
    return NULL;
  }
  int e = raw_device(raw, options->device);
  if (!e) e = raw_handles(raw, loop);
  if (e) {
    failure_set_uv(f, "system", e, "taking the terminal");
    raw_release(raw);
    return NULL;
  }
  take_over(raw);
  return raw;
}

static void fail_closed(op_t *op) {
  failure_set(&op->failure, "closed", "closed", "the terminal was given back");
  op_complete(op);
}

void tty_raw_close(tty_raw_t *raw) {
  reading_t *reading = raw->reading;
  writing_t *writing = raw->writing;
  raw->reading = NULL;
  raw->writing = NULL;
  tty_restore();
  raw_release(raw);
  if (reading) fail_closed(&reading->op);
  if (writing) fail_closed(&writing->op);
}
