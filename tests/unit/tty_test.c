#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <lauxlib.h>

#include "bindings/error.h"
#include "bindings/register.h"
#include "runtime/host.h"
#include "runtime/tty.h"
#include "support/terminal.h"

static terminal_t term;

static int set_up(void **state) {
  terminal_open(&term, NULL);
  return 0;
}

static int tear_down(void **state) {
  terminal_close(&term);
  return 0;
}

static bool echoes(void) {
  struct termios mode;
  assert_int_equal(tcgetattr(term.slave, &mode), 0);
  return mode.c_lflag & ECHO;
}

static void type(const char *text) { terminal_type(term.master, text); }

static op_t *begin(bool secret) {
  const tty_prompt_t prompt = {.text = "word: ", .secret = secret, .device = term.device};
  op_t *op = tty_read_line(&term.loop, &prompt);
  assert_non_null(op);
  return op;
}

static void finish(op_t *op) {
  for (int i = 0; !op_is_done(op) && i < 1000; i++) uv_run(&term.loop, UV_RUN_ONCE);
  assert_true(op_is_done(op));
}

static void assert_line(op_t *op, const char *expected) {
  size_t size;
  finish(op);
  assert_false(failure_is_set(&op->failure));
  const char *line = tty_line(op, &size);
  assert_non_null(line);
  assert_int_equal(size, strlen(expected));
  assert_memory_equal(line, expected, size);
  op_release(op);
}

static void a_line_is_read_and_what_follows_is_left(void **state) {
  op_t *op = begin(false);
  terminal_seen(term.master, "word: ");
  assert_true(echoes());
  type("first\nsecond\n");
  assert_line(op, "first");
  assert_line(begin(false), "second");
}

static void a_secret_does_not_show(void **state) {
  op_t *op = begin(true);
  terminal_seen(term.master, "word: ");
  assert_false(echoes());
  type("open sesame\n");
  assert_line(op, "open sesame");
  assert_true(echoes());
  assert_string_equal(terminal_seen(term.master, "\r\n"), "\r\n");
}

static void the_end_of_the_input_is_no_line(void **state) {
  for (int secret = 0; secret < 2; secret++) {
    op_t *op = begin(secret);
    terminal_seen(term.master, "word: ");
    type("\004");
    finish(op);
    size_t size;
    assert_false(failure_is_set(&op->failure));
    assert_null(tty_line(op, &size));
    op_release(op);
    assert_true(echoes());
  }
}

static void cancelling_turns_the_echo_on(void **state) {
  op_t *op = begin(true);
  terminal_seen(term.master, "word: ");
  uv_run(&term.loop, UV_RUN_NOWAIT);
  assert_false(echoes());
  op_release(op);
  assert_true(echoes());
  terminal_seen(term.master, "\r\n");
}

static void restoring_by_hand_does_too(void **state) {
  op_t *op = begin(true);
  terminal_seen(term.master, "word: ");
  tty_restore();
  assert_true(echoes());
  op_release(op);
}

static void a_continued_process_asks_again(void **state) {
  op_t *op = begin(true);
  terminal_seen(term.master, "word: ");
  struct termios mode;
  tcgetattr(term.slave, &mode);
  mode.c_lflag |= ECHO; /* as a shell does that got the terminal back */
  tcsetattr(term.slave, TCSANOW, &mode);
  raise(SIGCONT);
  for (int i = 0; echoes() && i < 1000; i++) uv_run(&term.loop, UV_RUN_ONCE);
  assert_false(echoes());
  terminal_seen(term.master, "word: ");
  type("x\n");
  assert_line(op, "x");
  assert_true(echoes());
}

static void only_one_line_at_a_time(void **state) {
  op_t *first = begin(true), *second = begin(false);
  finish(second);
  assert_string_equal(second->failure.kind, "system");
  assert_string_equal(second->failure.code, "EBUSY");
  op_release(second);
  assert_false(echoes());
  terminal_seen(term.master, "word: ");
  type("one\n");
  assert_line(first, "one");
  op_t *third = begin(false);
  type("two\n");
  assert_line(third, "two");
}

static void a_terminal_that_goes_away_ends_it(void **state) {
  op_t *op = begin(true);
  terminal_seen(term.master, "word: ");
  close(term.slave);
  close(term.master);
  finish(op);
  op_release(op);
  assert_int_equal(openpty(&term.master, &term.slave, term.device, NULL, NULL), 0);
}

static void a_device_that_is_none_is_told(void **state) {
  snprintf(term.device, sizeof term.device, "/proc/nonexistent");
  op_t *op = begin(false);
  finish(op);
  assert_string_equal(op->failure.code, "ENOENT");
  op_release(op);
}

static void a_file_is_read_line_by_line(void **state) {
  snprintf(term.device, sizeof term.device, "/tmp/pgafrun-tty-XXXXXX");
  int fd = mkstemp(term.device);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "answer", 6), 6);
  assert_line(begin(true), "answer");
  assert_int_equal(ftruncate(fd, 70000), 0);
  op_t *op = begin(false);
  finish(op);
  assert_string_equal(op->failure.kind, "limit");
  op_release(op);
  close(fd);
  unlink(term.device);
}

static void sizes(void **state) {
  int columns = 0, rows = 0;
  assert_false(tty_size(term.slave, &columns, &rows)); /* not set yet */
  const struct winsize size = {.ws_row = 24, .ws_col = 132};
  ioctl(term.master, TIOCSWINSZ, &size);
  assert_true(tty_size(term.slave, &columns, &rows));
  assert_int_equal(columns, 132);
  assert_int_equal(rows, 24);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  assert_false(tty_size(null, &columns, &rows));
  close(null);
}

static void a_resize_is_told(void **state) {
  op_t *op = tty_resized(&term.loop), *other = tty_resized(&term.loop);
  uv_run(&term.loop, UV_RUN_NOWAIT);
  assert_false(op_is_done(op));
  raise(SIGWINCH);
  finish(op);
  finish(other);
  op_release(op);
  op_release(other);
  op_release(tty_resized(&term.loop)); /* cancelled */
}

/* --- in a process of its own, with the terminal that controls it ------------------------------------------ */

_Noreturn static void run_script(const char *code) {
  host_t host;
  const host_options_t options = {.lua_path = "",
                                  .open = bindings_register,
                                  .error_handler = error_handler,
                                  .raise_interrupt = error_raise_interrupt};
  int results = 0, status = 99;
  if (host_init(&host, &options) == 0 && luaL_loadstring(host.L, code) == LUA_OK) {
    int ended = host_run(&host, 0, 60, &results);
    bool told = ended == LUA_OK && lua_isinteger(host.L, -1);
    status = told ? (int)lua_tointeger(host.L, -1) : 128 + scheduler_signalled();
    if (host_close(&host) != 0) status = 98;
  }
  _exit(status);
}

static int controlled(const char *code, pid_t *pid) {
  int fd;
  *pid = forkpty(&fd, NULL, NULL, NULL);
  assert_true(*pid >= 0);
  if (*pid == 0) run_script(code);
  return fd;
}

static int exit_code(pid_t pid) {
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static bool master_echoes(int fd) {
  struct termios mode;
  assert_int_equal(tcgetattr(fd, &mode), 0);
  return mode.c_lflag & ECHO;
}

static void a_script_asks_for_a_secret(void **state) {
  pid_t pid;
  int fd = controlled("local tty = require 'pgafrun.tty'\n"
                      "assert(tty.is_terminal(0) and tty.is_terminal(2))\n"
                      "local task = require 'pgafrun.task'\n"
                      "local g <close> = task.group {}\n"
                      "g:spawn(function() task.sleep(0.01) io.write 'tick' io.flush() end)\n"
                      "local line = tty.read_line { prompt = 'word: ', secret = true }\n"
                      "return line == 'sesame' and 7 or 1",
                      &pid);
  terminal_seen(fd, "word: tick"); /* others run meanwhile */
  assert_false(master_echoes(fd));
  assert_int_equal(write(fd, "sesame\n", 7), 7);
  assert_string_equal(terminal_seen(fd, "\r\n"), "\r\n");
  assert_int_equal(exit_code(pid), 7);
  assert_true(master_echoes(fd));
  close(fd);
}

static void ctrl_c_ends_it_with_the_echo_on(void **state) {
  pid_t pid;
  int fd = controlled("require('pgafrun.tty').read_line { prompt = 'word: ', secret = true }", &pid);
  terminal_seen(fd, "word: ");
  assert_int_equal(write(fd, "\003", 1), 1);
  assert_int_equal(exit_code(pid), 128 + SIGINT);
  assert_true(master_echoes(fd));
  close(fd);
}

static void ending_at_once_leaves_the_echo_on(void **state) {
  pid_t pid;
  int fd = controlled("local task = require 'pgafrun.task'\n"
                      "local g <close> = task.group {}\n"
                      "g:spawn(function()\n"
                      "  task.sleep(0.05)\n"
                      "  io.write 'spin' io.flush()\n"
                      "  while true do pcall(function() while true do end end) end\n"
                      "end)\n"
                      "require('pgafrun.tty').read_line { prompt = 'word: ', secret = true }",
                      &pid);
  terminal_seen(fd, "word: spin");
  assert_false(master_echoes(fd));
  int status;
  pid_t ended = 0;
  while (ended == 0) { /* two that come together become one */
    kill(pid, SIGINT);
    usleep(20000);
    ended = waitpid(pid, &status, WNOHANG);
  }
  assert_int_equal(ended, pid);
  assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
  assert_true(master_echoes(fd));
  close(fd);
}

static void a_script_learns_of_a_resize(void **state) {
  pid_t pid;
  int fd = controlled("local tty = require 'pgafrun.tty'\n"
                      "local task = require 'pgafrun.task'\n"
                      "assert(tty.wait_resize(0.01) == nil)\n"
                      "local g <close> = task.group {}\n"
                      "local waiting = g:spawn(function() return tty.wait_resize() and (tty.size(0)) end)\n"
                      "task.sleep(0.01)\n"
                      "print 'ready'\n"
                      "return waiting:wait()",
                      &pid);
  terminal_seen(fd, "ready\r\n");
  const struct winsize size = {.ws_row = 24, .ws_col = 99};
  ioctl(fd, TIOCSWINSZ, &size);
  assert_int_equal(exit_code(pid), 99);
  close(fd);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_line_is_read_and_what_follows_is_left),
      TEST(a_secret_does_not_show),
      TEST(the_end_of_the_input_is_no_line),
      TEST(cancelling_turns_the_echo_on),
      TEST(restoring_by_hand_does_too),
      TEST(a_continued_process_asks_again),
      TEST(only_one_line_at_a_time),
      TEST(a_terminal_that_goes_away_ends_it),
      TEST(a_device_that_is_none_is_told),
      TEST(a_file_is_read_line_by_line),
      TEST(sizes),
      TEST(a_resize_is_told),
      cmocka_unit_test(a_script_asks_for_a_secret),
      cmocka_unit_test(ctrl_c_ends_it_with_the_echo_on),
      cmocka_unit_test(ending_at_once_leaves_the_echo_on),
      cmocka_unit_test(a_script_learns_of_a_resize),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
