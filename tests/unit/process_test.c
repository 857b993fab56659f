#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/child.h"
#include "runtime/process.h"

static uv_loop_t loop;

static void wake(op_t *op) { *(bool *)op->waiter = true; }

/* Runs the loop until op is done or the loop has nothing left to do. */
static void finish(op_t *op) {
  bool done = op_is_done(op);
  op->wake = wake;
  op->waiter = &done;
  while (!done && uv_run(&loop, UV_RUN_ONCE)) {}
  assert_true(done);
}

/* Ends the test: whatever still runs must end by itself, and leave nothing behind. */
static void drain(void) {
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
}

static op_t *run(const process_options_t *o) {
  uv_loop_init(&loop);
  return process_run(&loop, o);
}

static process_options_t shell(char *script) {
  static char *argv[] = {"/bin/sh", "-c", NULL, NULL};
  argv[2] = script;
  return (process_options_t){.spawn = {.argv = argv, .umask = -1}, .max_bytes = 1 << 20};
}

static void assert_output(op_t *op, const char *out, const char *err) {
  assert_false(failure_is_set(&op->failure));
  process_result_t r = process_result(op);
  assert_int_equal(r.out_size, strlen(out));
  assert_memory_equal(r.out, out, r.out_size);
  assert_int_equal(r.err_size, strlen(err));
  assert_memory_equal(r.err, err, r.err_size);
}

static void captures_output_and_exit_status(void **state) {
  process_options_t o = shell("echo out; echo err >&2; exit 3");
  op_t *op = run(&o);
  finish(op);
  assert_output(op, "out\n", "err\n");
  assert_int_equal(process_result(op).code, 3);
  assert_int_equal(process_result(op).signal, 0);
  op_release(op);
  drain();
}

static void tells_the_signal_that_ended_it(void **state) {
  process_options_t o = shell("kill -9 $$");
  op_t *op = run(&o);
  finish(op);
  assert_int_equal(process_result(op).signal, SIGKILL);
  op_release(op);
  drain();
}

static void output_can_be_opened_by_its_name(void **state) {
  process_options_t o = shell("echo out >/dev/stdout; echo err >/dev/stderr");
  op_t *op = run(&o);
  finish(op);
  assert_output(op, "out\n", "err\n");
  op_release(op);
  drain();
}

static void feeds_input_larger_than_a_pipe(void **state) {
  size_t size = 3 << 20;
  char *input = malloc(size);
  memset(input, 'x', size);
  process_options_t o = shell("wc -c");
  o.input = input;
  o.input_size = size;
  op_t *op = run(&o);
  free(input);
  finish(op);
  assert_output(op, "3145728\n", "");
  op_release(op);
  drain();
}

static void input_that_nobody_reads_is_harmless(void **state) {
  size_t size = 1 << 20;
  char *input = calloc(1, size);
  process_options_t o = shell("exec true");
  o.input = input;
  o.input_size = size;
  op_t *op = run(&o);
  free(input);
  finish(op);
  assert_output(op, "", "");
  assert_int_equal(process_result(op).code, 0);
  op_release(op);
  drain();
}

static void empty_input_is_an_end_of_file(void **state) {
  process_options_t o = shell("cat; echo end");
  o.input = "";
  op_t *op = run(&o);
  finish(op);
  assert_output(op, "end\n", "");
  op_release(op);
  drain();
}

static void a_missing_program_is_told_by_name(void **state) {
  char *argv[] = {"no-such-program-anywhere", NULL};
  process_options_t o = {.spawn = {.argv = argv, .umask = -1}, .input = "x", .input_size = 1, .max_bytes = 1};
  op_t *op = run(&o);
  finish(op);
  assert_string_equal(op->failure.kind, "process");
  assert_string_equal(op->failure.code, "ENOENT");
  assert_non_null(strstr(op->failure.message, "no-such-program-anywhere"));
  op_release(op);
  drain();
}

static void a_missing_directory_is_told(void **state) {
  process_options_t o = shell("true");
  o.spawn.cwd = "/no/such/directory";
  op_t *op = run(&o);
  finish(op);
  assert_string_equal(op->failure.code, "ENOENT");
  assert_non_null(strstr(op->failure.message, "/no/such/directory"));
  op_release(op);
  drain();
}

static void too_much_output_ends_it(void **state) {
  process_options_t o = shell("exec yes");
  op_t *op = run(&o);
  finish(op);
  assert_string_equal(op->failure.kind, "limit");
  assert_true(op->failure.outcome_unknown);
  op_release(op);
  drain();
}

static void exactly_max_bytes_is_not_too_much(void **state) {
  process_options_t o = shell("printf 12345678");
  o.max_bytes = 8;
  op_t *op = run(&o);
  finish(op);
  assert_output(op, "12345678", "");
  op_release(op);
  drain();
}

static void environment_directory_and_umask_are_as_asked(void **state) {
  mode_t ours = umask(022);
  char *env[] = {"A=1", "PATH=/usr/bin:/bin", NULL};
  process_options_t o = shell("echo $A ${HOME-unset}; pwd; umask");
  o.spawn.env = env;
  o.spawn.cwd = "/";
  o.spawn.umask = 027;
  op_t *op = run(&o);
  finish(op);
  assert_output(op, "1 unset\n/\n0027\n", "");
  op_release(op);
  drain();
  assert_int_equal(umask(ours), 022);
}

static void no_descriptor_and_no_signal_setting_is_inherited(void **state) {
  int leaked = open("/dev/null", O_RDONLY);
  process_options_t o = shell("ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status");
  op_t *op = run(&o);
  finish(op);
  /* 3 is ls's own, for the directory */
  assert_output(op, "0\n1\n2\n3\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n", "");
  op_release(op);
  close(leaked);
  drain();
}

static void a_grandchild_that_holds_the_output_does_not_hold_us(void **state) {
  process_options_t o = shell("echo $$; sleep 300 & exit 0");
  op_t *op = run(&o);
  finish(op);
  process_result_t r = process_result(op);
  assert_int_equal(r.code, 0);
  /* it was not ours to end */
  assert_int_equal(kill(-atoi(r.out), SIGKILL), 0);
  op_release(op);
  drain();
}

/* The pid of the shell's child, which has written it to the file by now. */
static pid_t read_pid(const char *path) {
  int pid = 0;
  for (int i = 0; i < 1000 && pid == 0; i++) {
    FILE *f = fopen(path, "r");
    if (f) {
      if (fscanf(f, "%d\n", &pid) != 1) pid = 0;
      fclose(f);
    }
    if (!pid) usleep(10000);
  }
  assert_int_not_equal(pid, 0);
  return pid;
}

/* Gone, or a zombie that whoever is process 1 here has not reaped. */
static bool is_gone(pid_t pid) {
  char path[64], line[512] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) return true;
  size_t n = fread(line, 1, sizeof line - 1, f);
  fclose(f);
  line[n] = '\0';
  char *end = strrchr(line, ')');
  return !end || end[2] == 'Z';
}

static void cancelling_ends_the_whole_group(void **state) {
  char path[] = "/tmp/process_test.XXXXXX", script[200];
  close(mkstemp(path));
  snprintf(script, sizeof script, "sleep 300 & echo $! >%s; wait", path);
  process_options_t o = shell(script);
  op_t *op = run(&o);
  pid_t grandchild = read_pid(path);
  op_release(op);
  drain();
  assert_true(is_gone(grandchild));
  unlink(path);
}

static void who_ignores_the_request_to_end_is_killed(void **state) {
  char path[] = "/tmp/process_test.XXXXXX", script[200];
  close(mkstemp(path));
  /* the leader obeys, its child does not */
  snprintf(script, sizeof script, "(trap '' TERM; sh -c 'echo $$ >%s; while :; do sleep 300; done') & wait",
           path);
  process_options_t o = shell(script);
  op_t *op = run(&o);
  pid_t grandchild = read_pid(path);
  op_release(op);
  drain();
  assert_true(is_gone(grandchild));
  unlink(path);
}

static void cancelling_a_failed_start_is_harmless(void **state) {
  char *argv[] = {"no-such-program-anywhere", NULL};
  process_options_t o = {.spawn = {.argv = argv, .umask = -1}};
  op_t *op = run(&o);
  op_release(op);
  drain();
}

static void many_at_once(void **state) {
  enum { N = 40 };
  uv_loop_init(&loop);
  op_t *ops[N];
  process_options_t o = shell("cat; exit 7");
  o.input = "hello";
  o.input_size = 5;
  for (int i = 0; i < N; i++) ops[i] = process_run(&loop, &o);
  for (int i = 0; i < N; i++) {
    if (!op_is_done(ops[i])) finish(ops[i]);
    assert_output(ops[i], "hello", "");
    assert_int_equal(process_result(ops[i]).code, 7);
    op_release(ops[i]);
  }
  drain();
}

static child_t *start(char *script, const char *output) {
  failure_t f = {0};
  uv_loop_init(&loop);
  child_t *child =
      child_start(&loop, &(spawn_options_t){(char *[]){"sh", "-c", script, NULL}, NULL, NULL, -1}, output,
                  &f);
  assert_non_null(child);
  return child;
}

static void a_daemon_appends_to_a_private_file(void **state) {
  char path[] = "/tmp/process_test.XXXXXX";
  close(mkstemp(path));
  unlink(path);
  child_t *child = start("cat; echo out; echo err >&2; exit 4", path);
  op_t *first = child_wait(child), *second = child_wait(child), *cancelled = child_wait(child);
  op_release(cancelled);
  finish(first);
  assert_int_equal(child_status(first).code, 4);
  assert_true(op_is_done(second));
  assert_true(child_has_exited(child));
  op_t *late = child_wait(child);
  assert_true(op_is_done(late));
  assert_int_equal(child_status(late).code, 4);
  op_release(first);
  op_release(second);
  op_release(late);
  child_release(child);
  drain();
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(st.st_size, 8);
  unlink(path);
}

static void a_daemon_outlives_its_release_in_a_session_of_its_own(void **state) {
  child_t *child = start("exec sleep 300", "/dev/null");
  pid_t pid = child_pid(child);
  op_t *waiting = child_wait(child);
  child_release(child);
  op_release(waiting);
  drain(); /* returns although the program runs */
  assert_int_equal(kill(pid, 0), 0);
  assert_int_equal(getsid(pid), pid);
  assert_int_equal(kill(pid, SIGKILL), 0);
}

static void a_daemon_that_cannot_start_is_told(void **state) {
  failure_t f = {0};
  uv_loop_init(&loop);
  spawn_options_t o = {(char *[]){"/no/such/program", NULL}, NULL, NULL, -1};
  assert_null(child_start(&loop, &o, "/dev/null", &f));
  assert_string_equal(f.kind, "process");
  assert_string_equal(f.code, "ENOENT");
  assert_null(child_start(&loop, &o, "/no/such/file", &f));
  assert_string_equal(f.kind, "file");
  drain();
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(captures_output_and_exit_status),
      cmocka_unit_test(tells_the_signal_that_ended_it),
      cmocka_unit_test(output_can_be_opened_by_its_name),
      cmocka_unit_test(feeds_input_larger_than_a_pipe),
      cmocka_unit_test(input_that_nobody_reads_is_harmless),
      cmocka_unit_test(empty_input_is_an_end_of_file),
      cmocka_unit_test(a_missing_program_is_told_by_name),
      cmocka_unit_test(a_missing_directory_is_told),
      cmocka_unit_test(too_much_output_ends_it),
      cmocka_unit_test(exactly_max_bytes_is_not_too_much),
      cmocka_unit_test(environment_directory_and_umask_are_as_asked),
      cmocka_unit_test(no_descriptor_and_no_signal_setting_is_inherited),
      cmocka_unit_test(a_grandchild_that_holds_the_output_does_not_hold_us),
      cmocka_unit_test(cancelling_ends_the_whole_group),
      cmocka_unit_test(who_ignores_the_request_to_end_is_killed),
      cmocka_unit_test(cancelling_a_failed_start_is_harmless),
      cmocka_unit_test(many_at_once),
      cmocka_unit_test(a_daemon_appends_to_a_private_file),
      cmocka_unit_test(a_daemon_outlives_its_release_in_a_session_of_its_own),
      cmocka_unit_test(a_daemon_that_cannot_start_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
