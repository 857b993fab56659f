/* Who draws on the whole terminal: keys come as bytes, drawing never blocks, and the terminal is put back whatever ends
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <lauxlib.h>

#include "bindings/error.h"
#include "bindings/register.h"
#include "runtime/host.h"
#include "runtime/tty.h"
#include "runtime/tty_raw.h"
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

static bool is_cooked(int fd) {
  struct termios mode;
  assert_int_equal(tcgetattr(fd, &mode), 0);
  return (mode.c_lflag & (ECHO | ICANON | ISIG)) == (ECHO | ICANON | ISIG) && mode.c_iflag & ICRNL;
}

static tty_raw_t *begin(void) {
  failure_t f = {0};
  tty_raw_t *raw =
      tty_raw_open(&term.loop, &(tty_raw_options_t){.device = term.device, .enter = "<in>", .leave = "<out>"},
                   &f);
  assert_non_null(raw);
  return raw;
}

static void finish(const op_t *op) {
  for (int i = 0; !op_is_done(op) && i < 1000; i++) uv_run(&term.loop, UV_RUN_ONCE);
  assert_true(op_is_done(op));
}

static void assert_typed(op_t *op, const char *expected) {
  const char *bytes;
  size_t size;
  finish(op);
  assert_false(failure_is_set(&op->failure));
  assert_int_equal(tty_raw_input(op, &bytes, &size), TTY_TYPED);
  assert_int_equal(size, strlen(expected));
  assert_memory_equal(bytes, expected, size);
  op_release(op);
}

static void assert_failed(op_t *op, const char *kind, const char *code) {
  finish(op);
  assert_string_equal(op->failure.kind, kind);
  assert_string_equal(op->failure.code, code);
  op_release(op);
}

static void keys_come_as_they_are_typed(void **state) {
  tty_raw_t *raw = begin();
  terminal_seen(term.master, "<in>");
  assert_false(is_cooked(term.slave));
  op_t *op = tty_raw_read(raw);
  terminal_type(term.master, "q");
  assert_typed(op, "q");
  op = tty_raw_read(raw);
  terminal_type(term.master, "\033[A\r\023"); /* up, return, Ctrl-S: nothing is translated */
  assert_typed(op, "\033[A\r\023");
  tty_raw_close(raw);
  assert_true(is_cooked(term.slave));
  assert_string_equal(terminal_seen(term.master, "<out>"), "<out>");
}

static void what_is_drawn_arrives_whole(void **state) {
  enum { SIZE = 200000 };
  tty_raw_t *raw = begin();
  terminal_seen(term.master, "<in>");
  char *text = malloc(SIZE), part[4096];
  assert_non_null(text);
  for (int i = 0; i < SIZE; i++) text[i] = (char)('a' + i % 26);
  op_t *op = tty_raw_write(raw, text, SIZE);
  assert_non_null(op);
  assert_false(op_is_done(op)); /* more than the terminal takes */
  assert_failed(tty_raw_write(raw, "x", 1), "system", "EBUSY");
  size_t got = 0;
  while (got < SIZE) {
    uv_run(&term.loop, UV_RUN_NOWAIT);
    ssize_t n = read(term.master, part, sizeof part);
    assert_true(n > 0);
    assert_memory_equal(part, text + got, n);
    got += (size_t)n;
  }
  finish(op);
  assert_false(failure_is_set(&op->failure));
  op_release(op);
  free(text);
  op = tty_raw_write(raw, "", 0);
  finish(op);
  op_release(op);
  tty_raw_close(raw);
}

static void restoring_by_hand_does_too(void **state) {
  tty_raw_t *raw = begin();
  terminal_seen(term.master, "<in>");
  tty_restore();
  terminal_seen(term.master, "<out>");
  assert_true(is_cooked(term.slave));
  tty_raw_close(raw);
}

static void what_waits_ends_with_it(void **state) {
  tty_raw_t *raw = begin();
  op_t *op = tty_raw_read(raw);
  uv_run(&term.loop, UV_RUN_NOWAIT);
  tty_raw_close(raw);
  assert_failed(op, "closed", "closed");
  assert_true(is_cooked(term.slave));
}

static void waiting_can_be_given_up(void **state) {
  tty_raw_t *raw = begin();
  op_release(tty_raw_read(raw));
  op_t *op = tty_raw_read(raw);
  terminal_type(term.master, "x");
  assert_typed(op, "x");
  tty_raw_close(raw);
}

static void one_at_a_time(void **state) {
  tty_raw_t *raw = begin();
  failure_t f = {0};
  assert_null(tty_raw_open(&term.loop, &(tty_raw_options_t){.device = term.device}, &f));
  assert_string_equal(f.code, "EBUSY");
  assert_failed(tty_read_line(&term.loop, &(tty_prompt_t){.device = term.device}), "system", "EBUSY");
  op_t *op = tty_raw_read(raw);
  assert_failed(tty_raw_read(raw), "system", "EBUSY");
  op_release(op);
  tty_raw_close(raw);
  raw = begin();
  tty_raw_close(raw);
}

static void no_terminal_is_told(void **state) {
  failure_t f = {0};
  assert_null(tty_raw_open(&term.loop, &(tty_raw_options_t){.device = "/dev/null"}, &f));
  assert_string_equal(f.kind, "system");
  assert_string_equal(f.code, "ENOTTY");
  assert_null(tty_raw_open(&term.loop, &(tty_raw_options_t){.device = "/proc/nonexistent"}, &f));
  assert_string_equal(f.code, "ENOENT");
  tty_raw_close(begin());
}

static void a_terminal_that_goes_away_ends_it(void **state) {
  tty_raw_t *raw = begin();
  op_t *op = tty_raw_read(raw);
  close(term.slave);
  close(term.master);
  const char *bytes;
  size_t size;
  finish(op);
  assert_int_equal(tty_raw_input(op, &bytes, &size), TTY_ENDED);
  op_release(op);
  op = tty_raw_write(raw, "x", 1);
  assert_failed(op, "system", "EIO");
  tty_raw_close(raw);
  assert_int_equal(openpty(&term.master, &term.slave, term.device, NULL, NULL), 0);
}

static void a_continued_process_draws_again(void **state) {
  tty_raw_t *raw = begin();
  terminal_seen(term.master, "<in>");
  op_t *op = tty_raw_read(raw);
  tty_restore(); /* as before the stop */
  raise(SIGCONT);
  const char *bytes;
  size_t size;
  finish(op);
  assert_int_equal(tty_raw_input(op, &bytes, &size), TTY_RESUMED);
  op_release(op);
  assert_false(is_cooked(term.slave));
  assert_string_equal(terminal_seen(term.master, "<in>"), "<out><in>");
  tty_raw_close(raw);
  assert_true(is_cooked(term.slave));
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

#define TAKE                                                                                                 \
  "local tty, task = require 'pgafrun.tty', require 'pgafrun.task'\n"                                        \
  "local t <close> = tty.raw { enter = '<in>', leave = '<out>' }\n"

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

static void a_script_draws_and_reads(void **state) {
  pid_t pid;
  int fd = controlled(TAKE "assert(t:read(0.01) == nil)\n"
                           "io.stderr:write 'a message'\n"
                           "t:write 'ready'\n"
                           "local g <close> = task.group {}\n"
                           "g:spawn(function() task.sleep(0.01) t:write '.' end)\n"
                           "local key = t:read()\n"
                           "t:close() t:close()\n"
                           "assert(not pcall(t.read, t))\n"
                           "return key == 'k' and 7 or 1",
                      &pid);
  assert_string_equal(terminal_seen(fd, "ready."), "<in>ready.");
  terminal_type(fd, "k");
  assert_string_equal(terminal_seen(fd, "message"), "<out>a message");
  assert_int_equal(exit_code(pid), 7);
  assert_true(is_cooked(fd));
  close(fd);
}

static void whatever_ends_a_script_puts_it_back(void **state) {
  static const struct {
    const char *code;
    int signal, status;
  } ends[] = {
      {"error 'x'", 0, 128},
      {"t:read()", SIGTERM, 128 + SIGTERM},
      {"t:read()", SIGHUP, 128 + SIGHUP},
      {"t:read()", SIGINT, 128 + SIGINT},
      {"os.exit(3)", 0, 128},
  };
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    char code[400];
    snprintf(code, sizeof code, TAKE "t:write 'ready'\n%s", ends[i].code);
    pid_t pid;
    int fd = controlled(code, &pid);
    terminal_seen(fd, ends[i].signal ? "ready" : "<out>");
    if (ends[i].signal) {
      assert_false(is_cooked(fd));
      kill(pid, ends[i].signal);
      terminal_seen(fd, "<out>");
    }
    assert_int_equal(exit_code(pid), ends[i].status);
    assert_true(is_cooked(fd));
    close(fd);
  }
}

static void ending_at_once_puts_it_back(void **state) {
  pid_t pid;
  int fd = controlled(TAKE "t:write 'spin'\n"
                           "while true do pcall(function() while true do end end) end",
                      &pid);
  terminal_seen(fd, "spin");
  int status;
  pid_t ended = 0;
  while (ended == 0) { /* two that come together become one */
    kill(pid, SIGTERM);
    usleep(20000);
    ended = waitpid(pid, &status, WNOHANG);
  }
  assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
  terminal_seen(fd, "<out>");
  assert_true(is_cooked(fd));
  close(fd);
}

static void ctrl_z_gives_the_terminal_back_meanwhile(void **state) {
  pid_t pid;
  int status;
  int fd = controlled(TAKE "t:write 'ready'\n"
                           "local bytes, why = t:read()\n"
                           "t:write 'again'\n"
                           "return bytes == nil and why == 'resumed' and 7 or 1",
                      &pid);
  terminal_seen(fd, "ready");
  kill(pid,
       SIGTSTP); /* a shell's job; here the group is orphaned, and the driver's own Ctrl-Z would be ignored */
  assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
  assert_true(WIFSTOPPED(status));
  terminal_seen(fd, "<out>");
  assert_true(is_cooked(fd));
  kill(pid, SIGCONT);
  assert_string_equal(terminal_seen(fd, "again<out>"),
                      "<in>again<out>"); /* entered once: nothing else would remember the cursor */
  assert_int_equal(exit_code(pid), 7);
  close(fd);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(keys_come_as_they_are_typed),
      TEST(what_is_drawn_arrives_whole),
      TEST(restoring_by_hand_does_too),
      TEST(what_waits_ends_with_it),
      TEST(waiting_can_be_given_up),
      TEST(one_at_a_time),
      TEST(no_terminal_is_told),
      TEST(a_terminal_that_goes_away_ends_it),
      TEST(a_continued_process_draws_again),
      cmocka_unit_test(a_script_draws_and_reads),
      cmocka_unit_test(whatever_ends_a_script_puts_it_back),
      cmocka_unit_test(ending_at_once_puts_it_back),
      cmocka_unit_test(ctrl_z_gives_the_terminal_back_meanwhile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
