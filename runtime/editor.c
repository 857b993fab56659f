/* editor.c - see editor.h. The life of an editor, a read from prompt to end, and its signals.
 *
 * libedit changes the terminal's mode when it is started and each time it prepares a read. We do that ourselves, at one
 * place and so that a signal handler can undo it; so it is told, but for a moment at the start, that it does not edit:
 * then it leaves the mode alone. */
#include "editor.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "editor_internal.h"
#include "tty.h"
#include "tty_mode.h"

enum {
  READ_BYTES = 64 * 1024,
  PASTE_BYTES = 64 * 1024 * 1024,
  HISTORY_LINES = 2000,
  CTRL_D = 4,
  TAB = 9,
  CTRL_R = 18
};

static const char brackets_on[] = "\033[?2004h";
static const char brackets_off[] = "\033[?2004l";

void editor_enter(editor_t *e) { e->outer = uselocale(e->locale); }
void editor_leave(editor_t *e) { uselocale(e->outer); }

/* --- a read ---------------------------------------------------------------------------------------------- */

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_resized(uv_signal_t *handle, int signo);
static void on_stopped(uv_signal_t *handle, int signo);
static void on_continued(uv_signal_t *handle, int signo);

static void read_cancel(op_t *op);

static void read_destroy(op_t *op) {
  editor_read_t *read = (editor_read_t *)op;
  if (read->line.data) explicit_bzero(read->line.data, read->line.size);
  bytes_free(&read->line);
  free(read);
}

static const op_class_t read_class = {"line.read", read_cancel, read_destroy};

static void take_terminal(const editor_t *e) {
  tty_mode_set(e->in_fd, &e->mode, false, brackets_off);
  fputs(brackets_on, e->out);
}

/* libedit forgets the line before and draws the prompt. */
static void prepare(editor_t *e) {
  el_wset(e->el, EL_EDITMODE, 0);
  el_wset(e->el, EL_UNBUFFERED, 0);
  el_wset(e->el, EL_UNBUFFERED, 1);
  el_wset(e->el, EL_EDITMODE, 1);
}

static void read_end(editor_t *e, editor_end_t end) {
  editor_read_t *read = e->read;
  if (!read) return;
  e->read = NULL;
  e->completing = false;
  read->editor = NULL;
  read->end = end;
  uv_poll_stop(&e->poll);
  uv_signal_stop(&e->resized);
  uv_signal_stop(&e->stopped);
  uv_signal_stop(&e->continued);
  fflush(e->out);
  tty_restore();
  tty_unclaim();
  op_complete(&read->op);
}

static void read_cancel(op_t *op) {
  editor_t *e = ((editor_read_t *)op)->editor;
  editor_enter(e);
  editor_search_end(e, false);
  if (e->hidden == 0) fputs("\r\n", e->out);
  editor_leave(e);
  read_end(e, EDITOR_EOF);
}

/* The cursor leaves the line, with this mark behind it. */
static void leave_line(editor_t *e, const char *mark) {
  editor_enter(e);
  editor_search_end(e, false);
  editor_erase(e);
  const LineInfoW *line = el_wline(e->el);
  el_cursor(e->el, (int)(line->lastchar - line->cursor));
  editor_draw(e);
  fprintf(e->out, "%s\n", mark);
  editor_leave(e);
}

void editor_interrupt(editor_t *e) {
  if (!e->read) return;
  leave_line(e, "^C");
  editor_keys_clear(&e->keys);
  read_end(e, EDITOR_INTERRUPTED);
}

static void fail(editor_t *e, const char *kind, int uv_error, const char *what) {
  if (!e->read) return;
  failure_set_uv(&e->read->op.failure, kind, uv_error, "%s", what);
  read_end(e, EDITOR_EOF);
}

/* --- keys ------------------------------------------------------------------------------------------------ */

/* What libedit reads keys with. It is asked only for what is there. */
static int give_key(EditLine *el, wchar_t *c) {
  void *data = NULL;
  el_wget(el, EL_CLIENTDATA, &data);
  editor_t *e = data;
  if (e->key_at >= e->key_length) return 0;
  *c = e->key[e->key_at++];
  return 1;
}

static void press(editor_t *e, const wchar_t *key, int length) {
  int count = 0;
  e->key = key;
  e->key_at = 0;
  e->key_length = length;
  el_wgets(e->el, &count);
  e->key_length = 0; /* what it left is of a sequence that it does not know */
}

static void finish_line(editor_t *e) {
  const LineInfoW *line = el_wline(e->el);
  size_t length = (size_t)(line->lastchar - line->buffer);
  bool kept = editor_narrow(&e->read->line, line->buffer, length);
  press(e, L"\n", 1);
  fflush(e->out);
  if (!kept) {
    fail(e, "memory", UV_ENOMEM, "reading a line");
    return;
  }
  read_end(e, EDITOR_LINE);
}

static void insert(editor_t *e, const wchar_t *text, size_t length) {
  if (length == 1) {
    press(e, text, 1); /* draws the one character, where that is enough */
    return;
  }
  editor_erase(e);
  if (length > 0) el_winsertstr(e->el, text);
  editor_draw(e);
}

static bool line_is_empty(const editor_t *e) {
  const LineInfoW *line = el_wline(e->el);
  return line->lastchar == line->buffer;
}

static void take_key(editor_t *e, const editor_token_t *token) {
  wchar_t key = token->key_length == 1 ? token->key[0] : 0;
  if (key == '\r' || key == '\n') {
    finish_line(e);
  } else if (key == CTRL_D && line_is_empty(e)) {
    fputs("\r\n", e->out);
    read_end(e, EDITOR_EOF);
  } else if (key == TAB && e->read->op.part) {
    e->completing = true;
    op_tell_part(&e->read->op);
  } else if (key == CTRL_R) {
    editor_search_begin(e);
  } else if (editor_knows_key(token)) {
    press(e, token->key, token->key_length);
  }
}

static void take_token(editor_t *e, const editor_token_t *token) {
  if (e->search.on && editor_search_token(e, token)) return;
  if (token->kind == EDITOR_KEY)
    take_key(e, token);
  else
    insert(e, token->text, token->text_length);
}

static void take_tokens(editor_t *e) {
  editor_enter(e);
  while (e->read && !e->completing) {
    editor_token_t token;
    if (!editor_keys_next(&e->keys, &token)) {
      fail(e, "memory", UV_ENOMEM, "reading a line");
      break;
    }
    if (token.kind == EDITOR_NOTHING) break;
    if (e->hidden > 0) editor_draw(e); /* nobody types into what cannot be seen */
    take_token(e, &token);
    if (e->hidden > 0 && e->read) editor_erase(e);
    free(token.text);
  }
  fflush(e->out);
  editor_leave(e);
}

static void on_again(uv_async_t *async) { take_tokens(async->data); }

static void on_readable(uv_poll_t *poll, int status, int events) {
  editor_t *e = poll->data;
  static char buffer[READ_BYTES];
  ssize_t n = status < 0 ? -1 : read(e->in_fd, buffer, sizeof buffer);
  if (n < 0 && status == 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) { /* the terminal is gone */
    read_end(e, EDITOR_EOF);
    return;
  }
  if (e->keys.input.size > PASTE_BYTES) {
    editor_keys_clear(&e->keys);
    failure_set(&e->read->op.failure, "limit", "paste", "more than %d bytes were pasted", PASTE_BYTES);
    read_end(e, EDITOR_EOF);
    return;
  }
  bool kept = editor_keys_add(&e->keys, buffer, (size_t)n);
  explicit_bzero(buffer, (size_t)n);
  if (!kept)
    fail(e, "memory", UV_ENOMEM, "reading a line");
  else
    take_tokens(e);
}

/* --- signals, while a line is wanted --------------------------------------------------------------------- */

static void on_resized(uv_signal_t *handle, int signo) {
  editor_t *e = handle->data;
  if (e->hidden > 0) return;
  editor_enter(e);
  editor_erase(e);
  el_resize(e->el);
  editor_draw(e);
  editor_leave(e);
}

static void on_stopped(uv_signal_t *handle, int signo) {
  editor_t *e = handle->data;
  fputs("\r\n", e->out);
  fflush(e->out);
  tty_restore();
  raise(SIGSTOP);
}

static void on_continued(uv_signal_t *handle, int signo) {
  editor_t *e = handle->data;
  editor_enter(e);
  take_terminal(e);
  el_resize(e->el);
  if (e->hidden == 0) editor_draw(e);
  fflush(e->out);
  editor_leave(e);
}

/* --- what the binding calls ------------------------------------------------------------------------------ */

static bool set_prompt(editor_t *e, const char *text) {
  size_t length;
  wchar_t *prompt = editor_widen(text, strlen(text), &length);
  if (!prompt) return false;
  free(e->prompt);
  e->prompt = prompt;
  return true;
}

static int read_begin(editor_t *e) {
  int status = uv_poll_start(&e->poll, UV_READABLE | UV_DISCONNECT, on_readable);
  if (!status) status = uv_signal_start(&e->resized, on_resized, SIGWINCH);
  if (!status) status = uv_signal_start(&e->stopped, on_stopped, SIGTSTP);
  if (!status) status = uv_signal_start(&e->continued, on_continued, SIGCONT);
  if (status) return status;
  fflush(stdout);
  editor_enter(e);
  take_terminal(e);
  prepare(e);
  fflush(e->out);
  editor_leave(e);
  uv_async_send(&e->again); /* what has come already: whoever reads must be waiting when Tab is in it */
  return 0;
}

op_t *editor_read(editor_t *e, const char *prompt) {
  editor_read_t *read = calloc(1, sizeof *read);
  if (!read) return NULL;
  op_init(&read->op, &read_class);
  if (!set_prompt(e, prompt)) {
    free(read);
    return NULL;
  }
  op_submit(&read->op);
  if (e->read || !tty_claim()) {
    failure_set_uv(&read->op.failure, "system", UV_EBUSY, "another task has the terminal already");
    op_complete(&read->op);
    return &read->op;
  }
  read->editor = e;
  e->read = read;
  int status = read_begin(e);
  if (status) fail(e, "system", status, "waiting for a line");
  return &read->op;
}

const char *editor_line(const op_t *op, size_t *size, editor_end_t *end) {
  const editor_read_t *read = (const editor_read_t *)op;
  *end = read->end;
  *size = read->line.size;
  if (read->end != EDITOR_LINE) return NULL;
  return read->line.data ? read->line.data : "";
}

bool editor_is_reading(const editor_t *e) { return e->read != NULL; }

bool editor_is_completing(const editor_t *e) { return e->completing; }

bool editor_text(const editor_t *e, bytes_t *before, bytes_t *behind) {
  const LineInfoW *line = el_wline(e->el);
  return editor_narrow(before, line->buffer, (size_t)(line->cursor - line->buffer)) &&
         editor_narrow(behind, line->cursor, (size_t)(line->lastchar - line->cursor));
}

void editor_complete(editor_t *e, const char *before, const char *above) {
  if (!e->completing) return;
  e->completing = false;
  size_t length;
  wchar_t *text = before ? editor_widen(before, strlen(before), &length) : NULL;
  if (above) editor_print_above(e, above, strlen(above));
  editor_enter(e);
  if (text) {
    editor_erase(e);
    editor_replace(e, text, false);
    editor_draw(e);
  }
  if (!text && !above) el_beep(e->el);
  fflush(e->out);
  editor_leave(e);
  free(text);
  uv_async_send(&e->again); /* not now: whoever asked is still looking at this read */
}

void editor_remember(editor_t *e, const char *line) {
  size_t length;
  HistEventW event;
  wchar_t *text = editor_widen(line, strlen(line), &length);
  if (text && length > 0) history_w(e->history, &event, H_ENTER, text);
  free(text);
}

/* --- life ------------------------------------------------------------------------------------------------ */

static void editor_free(editor_t *e) {
  if (e->el) {
    el_wset(e->el, EL_EDITMODE, 0); /* or it would set the terminal's mode once more */
    el_end(e->el);
  }
  if (e->history) history_wend(e->history);
  if (e->in)
    fclose(e->in);
  else if (e->in_fd >= 0)
    close(e->in_fd);
  if (e->out) fclose(e->out);
  if (e->locale) freelocale(e->locale);
  editor_keys_free(&e->keys);
  free(e->prompt);
  free(e->search.before);
  free(e);
}

static void on_closed(uv_handle_t *handle) {
  editor_t *e = handle->data;
  if (--e->handles == 0) editor_free(e);
}

void editor_close(editor_t *e) {
  if (e->closing) return;
  e->closing = true;
  if (e->read) {
    failure_set(&e->read->op.failure, "closed", "closed", "the line editor was closed");
    leave_line(e, "");
    read_end(e, EDITOR_EOF);
  }
  uv_handle_t *const handles[] = {(uv_handle_t *)&e->poll, (uv_handle_t *)&e->again,
                                  (uv_handle_t *)&e->resized, (uv_handle_t *)&e->stopped,
                                  (uv_handle_t *)&e->continued};
  if (e->handles == 0) {
    editor_free(e);
    return;
  }
  for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
    if (handles[i]->data) uv_close(handles[i], on_closed);
}

static int open_terminal(editor_t *e, const char *device) {
  char name[128];
  if (!device && ttyname_r(STDIN_FILENO, name, sizeof name) == 0) device = name;
  e->in_fd = tty_open(NULL);
  if (e->in_fd < 0 || device) {
    int fd = tty_open(device);
    if (fd >= 0 && e->in_fd >= 0) close(e->in_fd);
    if (fd >= 0) e->in_fd = fd;
  }
  if (e->in_fd < 0 || tcgetattr(e->in_fd, &e->mode) != 0) return uv_translate_sys_error(errno);
  /* writing is to wait: its own opening of the terminal does not share the flag */
  int out = ttyname_r(e->in_fd, name, sizeof name) == 0 ? open(name, O_WRONLY | O_NOCTTY | O_CLOEXEC) : -1;
  if (out < 0) out = open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (out < 0) return uv_translate_sys_error(errno);
  e->out = fdopen(out, "w");
  e->in = fdopen(e->in_fd, "r");
  if (!e->out || !e->in) {
    if (!e->out) close(out);
    return UV_ENOMEM;
  }
  setvbuf(e->out, NULL, _IOFBF, READ_BYTES);
  return 0;
}

/* The user's, or any that knows UTF-8: it is what everything here is written in. */
static int open_locale(editor_t *e) {
  e->locale = newlocale(LC_CTYPE_MASK, "", NULL);
  if (e->locale && strcmp(nl_langinfo_l(CODESET, e->locale), "UTF-8") == 0) return 0;
  if (e->locale) freelocale(e->locale);
  e->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
  return e->locale ? 0 : UV_ENOSYS;
}

static int open_libedit(editor_t *e) {
  struct termios before = e->mode;
  HistEventW event;
  e->history = history_winit();
  e->el = el_init_fd("pgafrun", e->in, e->out, e->out, e->in_fd, fileno(e->out), fileno(e->out));
  if (!e->history || !e->el) return UV_ENOMEM;
  history_w(e->history, &event, H_SETSIZE, HISTORY_LINES);
  history_w(e->history, &event, H_SETUNIQUE, 1);
  el_wset(e->el, EL_CLIENTDATA, e);
  el_wset(e->el, EL_SIGNAL, 0);
  el_wset(e->el, EL_EDITOR, L"emacs");
  el_wset(e->el, EL_GETCFN, give_key);
  el_wset(e->el, EL_HIST, history_w, e->history);
  el_wset(e->el, EL_PROMPT, editor_prompt);
  el_wset(e->el, EL_UNBUFFERED, 1); /* once in its editing mode, it stays there */
  editor_bind_keys(e->el);
  tcsetattr(e->in_fd, TCSANOW, &before);
  e->mode.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | ISTRIP);
  e->mode.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
  e->mode.c_lflag |= ISIG;
  e->mode.c_cc[VQUIT] = _POSIX_VDISABLE; /* Ctrl-\ would end us without a word */
  e->mode.c_cc[VMIN] = 1;
  e->mode.c_cc[VTIME] = 0;
  return 0;
}

static int open_handles(editor_t *e) {
  int status = uv_poll_init(e->loop, &e->poll, e->in_fd);
  if (status) return status;
  e->poll.data = e;
  e->handles++;
  status = uv_async_init(e->loop, &e->again, on_again);
  if (status) return status;
  e->again.data = e;
  e->handles++;
  uv_unref((uv_handle_t *)&e->again);
  uv_signal_t *const signals[] = {&e->resized, &e->stopped, &e->continued};
  for (int i = 0; i < 3; i++) {
    status = uv_signal_init(e->loop, signals[i]);
    if (status) return status;
    signals[i]->data = e;
    e->handles++;
    uv_unref((uv_handle_t *)signals[i]);
  }
  return 0;
}

editor_t *editor_open(uv_loop_t *loop, const char *device, failure_t *f) {
  editor_t *e = calloc(1, sizeof *e);
  if (!e) {
    failure_set_uv(f, "memory", UV_ENOMEM, "opening the line editor");
    return NULL;
  }
  e->loop = loop;
  e->in_fd = -1;
  bool mine = tty_claim();
  int status = mine ? open_locale(e) : UV_EBUSY;
  if (!status) status = open_terminal(e, device);
  if (!status) {
    editor_enter(e);
    status = open_libedit(e);
    editor_leave(e);
  }
  if (!status) status = open_handles(e);
  if (mine) tty_unclaim();
  if (!status) return e;
  failure_set_uv(f, status == UV_ENOMEM ? "memory" : "system", status,
                 "opening the terminal for the line editor");
  editor_close(e);
  return NULL;
}
