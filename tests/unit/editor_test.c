/* The line editor on a pseudo-terminal: keys, pastes, what is shown above, completion, and the terminal's mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pty.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "runtime/bytes.h"
#include "runtime/editor.h"
#include "runtime/editor_keys.h"
#include "runtime/tty.h"
#include "support/terminal.h"

static terminal_t term;
static editor_t *editor;

static int set_up(void **state) {
  const struct winsize size = {.ws_col = 40, .ws_row = 10};
  failure_t f = {0};
  terminal_open(&term, &size);
  setenv("TERM", "dumb", 1); /* of others, ncurses loses a few bytes each time it reads their entry */
  editor = editor_open(&term.loop, term.device, &f);
  if (!editor) fail_msg("%s", f.message);
  return 0;
}

static int tear_down(void **state) {
  if (editor) editor_close(editor);
  editor = NULL;
  terminal_close(&term);
  return 0;
}

static void type(const char *text) { terminal_type(term.master, text); }

/* What the terminal got, until `wanted` is in it; it is forgotten then. */
static void assert_shown(const char *wanted) {
  static char text[65536];
  size_t size = 0;
  text[0] = 0;
  while (!strstr(text, wanted)) {
    ssize_t n = read(term.master, text + size, sizeof text - 1 - size);
    if (n <= 0) fail_msg("the terminal shows '%s' and not '%s'", text, wanted);
    size += (size_t)n;
    text[size] = 0;
  }
}

static op_t *begin(const char *prompt) {
  op_t *op = editor_read(editor, prompt);
  assert_non_null(op);
  return op;
}

/* A few turns of the term.loop. */
static void turn(void) {
  for (int i = 0; i < 20; i++) {
    uv_run(&term.loop, UV_RUN_NOWAIT);
    usleep(1000);
  }
}

static void finish(op_t *op) {
  for (int i = 0; !op_is_done(op) && i < 100000; i++) uv_run(&term.loop, UV_RUN_ONCE);
  assert_true(op_is_done(op));
}

static void assert_line(op_t *op, const char *expected) {
  size_t size;
  editor_end_t end;
  finish(op);
  assert_false(failure_is_set(&op->failure));
  const char *line = editor_line(op, &size, &end);
  if (!expected) {
    assert_null(line);
  } else {
    assert_non_null(line);
    assert_int_equal(end, EDITOR_LINE);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(line, expected, size);
  }
  op_release(op);
}

static tcflag_t local_mode(void) {
  struct termios mode;
  assert_int_equal(tcgetattr(term.slave, &mode), 0);
  return mode.c_lflag & (ICANON | ECHO | ISIG);
}

/* --- reading --------------------------------------------------------------------------------------------- */

static void test_lines(void **state) {
  op_t *op = begin("> ");
  type("one\r");
  assert_line(op, "one");
  op = begin("> ");
  type("\r");
  assert_line(op, "");
  op = begin("> ");
  type("h\303\251\342\202\254\360\237\220\230\r"); /* two, three and four bytes */
  assert_line(op, "h\303\251\342\202\254\360\237\220\230");
  op = begin("> ");
  type("a\377b\r");
  assert_line(op, "a\357\277\275b");
}

static void test_lines_that_come_together_are_read_one_by_one(void **state) {
  op_t *op = begin("> ");
  type("one\rtwo\rthr");
  assert_line(op, "one");
  assert_line(begin("> "), "two");
  op = begin("> ");
  type("ee\r");
  assert_line(op, "three");
}

static void test_keys(void **state) {
  op_t *op = begin("> ");
  type("bc\001a\005d\033[D\033[D\033[3~\r"); /* home, a, end, d, left twice, delete */
  assert_line(op, "abd");
  op = begin("> ");
  type("one two\027three\r"); /* the word before goes */
  assert_line(op, "one three");
  op = begin("> ");
  type("x\033[99~\033[1;9Zy\r"); /* keys that nobody knows */
  assert_line(op, "xy");
}

static void test_a_key_may_come_in_pieces(void **state) {
  op_t *op = begin("> ");
  type("ab\033");
  turn();
  assert_false(op_is_done(op));
  type("[");
  turn();
  type("Dx\303");
  turn();
  type("\251\r");
  assert_line(op, "ax\303\251b");
}

static void test_ends(void **state) {
  size_t size;
  editor_end_t end;
  op_t *op = begin("> ");
  type("\004");
  finish(op);
  assert_null(editor_line(op, &size, &end));
  assert_int_equal(end, EDITOR_EOF);
  op_release(op);

  op = begin("> ");
  type("half");
  turn();
  editor_interrupt(editor);
  finish(op);
  assert_null(editor_line(op, &size, &end));
  assert_int_equal(end, EDITOR_INTERRUPTED);
  op_release(op);
  editor_interrupt(editor); /* nothing is read: nothing happens */

  op = begin("> ");
  type("new\r");
  assert_line(op, "new");
}

static void test_one_read_at_a_time(void **state) {
  op_t *op = begin("> "), *second = begin("> ");
  finish(second);
  assert_string_equal(second->failure.code, "EBUSY");
  op_release(second);
  op_release(op);
  failure_t f = {0};
  op = begin("> ");
  assert_null(editor_open(&term.loop, term.device, &f));
  assert_string_equal(f.code, "EBUSY");
  op_release(op);
}

/* --- pastes ---------------------------------------------------------------------------------------------- */

static void test_a_paste_is_one_line_with_ends_in_it(void **state) {
  op_t *op = begin("> ");
  type("x\033[200~one\rtwo\r\nthree\033[201~\r");
  assert_line(op, "xone\ntwo\nthree");
  op = begin("> ");
  type("\033[200~a\tb\033[20");
  turn();
  type("1~c\r");
  assert_line(op, "a\tbc");
}

static void test_a_large_paste_is_whole(void **state) {
  enum { SIZE = 300000 };
  char *text = malloc(SIZE + 1);
  assert_non_null(text);
  for (int i = 0; i < SIZE; i++) text[i] = i % 60 == 59 ? '\n' : (char)('a' + i / 60 % 26);
  text[SIZE] = 0;
  op_t *op = begin("> ");
  type("\033[200~");
  char ignored[4096];
  for (int at = 0; at < SIZE;) {
    int n = SIZE - at < 2048 ? SIZE - at : 2048;
    assert_int_equal(write(term.master, text + at, (size_t)n), n);
    at += n;
    uv_run(&term.loop, UV_RUN_NOWAIT);
  }
  type("\033[201~");
  turn();
  assert_true(read(term.master, ignored, sizeof ignored) > 0);
  type("\r");
  for (int i = 0; !op_is_done(op) && i < 100000; i++) {
    int waiting = 0;
    uv_run(&term.loop, UV_RUN_NOWAIT);
    while (ioctl(term.master, FIONREAD, &waiting) == 0 && waiting > 0)
      if (read(term.master, ignored, sizeof ignored) <= 0) break;
  }
  assert_line(op, text);
  free(text);
}

/* --- history, completion, what is above ------------------------------------------------------------------ */

static void test_history(void **state) {
  editor_remember(editor, "oldest entry");
  editor_remember(editor, "newest\nof two lines");
  op_t *op = begin("> ");
  type("\033[A\033[A\r");
  assert_line(op, "oldest entry");
  op = begin("> ");
  type("\020!\r");
  assert_line(op, "newest\nof two lines!");
}

static void test_search(void **state) {
  editor_remember(editor, "select 1");
  editor_remember(editor, "select 2");
  editor_remember(editor, "something else");
  op_t *op = begin("> ");
  type("mine\022sel\022\r"); /* the second that fits */
  assert_line(op, "select 1");
  op = begin("> ");
  type("mine\022nowhere\007\r"); /* given up */
  assert_line(op, "mine");
  op = begin("> ");
  type("\022elx\177\005!\r"); /* a letter too many; the end of the line keeps it */
  assert_line(op, "something else!");
}

static int parts;

static void on_part(op_t *op) { parts++; }

static void test_completion(void **state) {
  bytes_t before = {0}, behind = {0};
  parts = 0;
  op_t *op = begin("> ");
  op->part = on_part;
  type("fo)\033[D\t");
  for (int i = 0; !parts && i < 1000; i++) uv_run(&term.loop, UV_RUN_ONCE);
  assert_true(editor_is_completing(editor));
  assert_true(editor_text(editor, &before, &behind));
  assert_int_equal(before.size, 2);
  assert_memory_equal(before.data, "fo", 2);
  assert_int_equal(behind.size, 1);
  bytes_free(&before);
  bytes_free(&behind);
  type("!\r"); /* waits for the answer */
  turn();
  assert_false(op_is_done(op));
  editor_complete(editor, "formation", "formation  format");
  assert_shown("formation  format");
  assert_line(op, "formation!)");
}

static void test_above(void **state) {
  op_t *op = begin("prompt> ");
  type("typed");
  turn();
  assert_shown("typed");
  editor_print_above(editor, "news", 4);
  assert_shown("\r\033[Jnews\r\nprompt> typed");
  type(" this line is longer than the terminal is");
  turn();
  editor_hide(editor);
  editor_hide(editor);
  assert_shown("\r\033[1A\033[J"); /* from the second row up to the prompt's */
  editor_show(editor);
  type("!");
  turn();
  editor_show(editor);
  assert_shown("terminal is!");
  type("\r");
  assert_line(op, "typed this line is longer than the terminal is!");
}

/* --- the terminal ---------------------------------------------------------------------------------------- */

static void test_the_mode_is_put_back(void **state) {
  tcflag_t before = local_mode();
  assert_int_equal(before, ICANON | ECHO | ISIG);
  op_t *op = begin("> ");
  assert_int_equal(local_mode(), ISIG);
  assert_shown("\033[?2004h");
  type("x\r");
  assert_line(op, "x");
  assert_int_equal(local_mode(), before);
  assert_shown("\033[?2004l");

  op = begin("> ");
  op_release(op); /* cancelled */
  assert_int_equal(local_mode(), before);

  op = begin("> ");
  assert_int_equal(local_mode(), ISIG);
  tty_restore(); /* as a signal handler does */
  assert_int_equal(local_mode(), before);
  op_release(op);

  op = begin("> ");
  editor_close(editor);
  editor = NULL;
  finish(op);
  assert_string_equal(op->failure.kind, "closed");
  assert_int_equal(local_mode(), before);
  op_release(op);
}

static void test_a_terminal_that_goes_away_ends_the_read(void **state) {
  op_t *op = begin("> ");
  close(term.slave);
  close(term.master);
  assert_line(op, NULL);
  assert_int_equal(openpty(&term.master, &term.slave, term.device, NULL, NULL), 0); /* for tear_down */
}

static void test_no_terminal(void **state) {
  failure_t f = {0};
  assert_null(editor_open(&term.loop, "/dev/null", &f));
  assert_string_equal(f.kind, "system");
  assert_string_equal(f.code, "ENOTTY");
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(test_lines),
      CASE(test_lines_that_come_together_are_read_one_by_one),
      CASE(test_keys),
      CASE(test_a_key_may_come_in_pieces),
      CASE(test_ends),
      CASE(test_one_read_at_a_time),
      CASE(test_a_paste_is_one_line_with_ends_in_it),
      CASE(test_a_large_paste_is_whole),
      CASE(test_history),
      CASE(test_search),
      CASE(test_completion),
      CASE(test_above),
      CASE(test_the_mode_is_put_back),
      CASE(test_a_terminal_that_goes_away_ends_the_read),
      CASE(test_no_terminal),
  };
#undef CASE
  return cmocka_run_group_tests(tests, NULL, NULL);
}
