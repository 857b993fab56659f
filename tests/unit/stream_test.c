#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/stream.h"
#include "support/loop.h"

static runtime_t runtime;
static char folder[64];
static char path[96];

static int set_up(void **state) {
  snprintf(folder, sizeof folder, "/tmp/pgafrun-stream-XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/socket", folder);
  loop_begin(&runtime);
  return 0;
}

static int tear_down(void **state) {
  loop_end(&runtime);
  assert_int_equal(rmdir(folder), 0); /* nothing was left behind */
  return 0;
}

static listener_t *listening(bool background) {
  failure_t f = {0};
  listener_t *listener = listener_open(&runtime.loop, path, background, &f);
  assert_non_null(listener);
  return listener;
}

static stream_t *made(op_t *op) {
  loop_wait(&runtime, op);
  assert_false(failure_is_set(&op->failure));
  stream_t *stream = stream_made(op);
  assert_non_null(stream);
  op_release(op);
  return stream;
}

static void pair(listener_t *listener, stream_t **near, stream_t **far) {
  op_t *connecting = stream_connect(&runtime.loop, path), *accepting = listener_accept(listener);
  *near = made(connecting);
  *far = made(accepting);
}

static void assert_written(stream_t *stream, const char *text) {
  op_t *op = stream_write(stream, text, strlen(text));
  loop_wait(&runtime, op);
  assert_false(failure_is_set(&op->failure));
  op_release(op);
}

static void assert_read(stream_t *stream, const char *expected) {
  size_t size;
  op_t *op = stream_read(stream);
  loop_wait(&runtime, op);
  assert_false(failure_is_set(&op->failure));
  const char *bytes = stream_bytes(op, &size);
  assert_int_equal(size, strlen(expected));
  assert_memory_equal(bytes, expected, size);
  op_release(op);
}

static void assert_fails(op_t *op, const char *kind, const char *code) {
  loop_wait(&runtime, op);
  assert_string_equal(op->failure.kind, kind);
  assert_string_equal(op->failure.code, code);
  op_release(op);
}

static void bytes_go_both_ways(void **state) {
  listener_t *listener = listening(false);
  stream_t *near, *far;
  pair(listener, &near, &far);
  assert_written(near, "question");
  assert_read(far, "question");
  assert_written(far, "answer");
  assert_read(near, "answer");
  stream_close(near);
  assert_read(far, ""); /* the end */
  stream_close(far);
  listener_close(listener);
}

static void who_connects_before_anybody_accepts_is_kept(void **state) {
  listener_t *listener = listening(false);
  stream_t *near = made(stream_connect(&runtime.loop, path));
  assert_written(near, "early");
  loop_run_for(&runtime, 10);
  stream_t *far = made(listener_accept(listener));
  assert_read(far, "early");
  stream_close(near);
  stream_close(far);
  listener_close(listener);
}

static void the_peer_is_known(void **state) {
  listener_t *listener = listening(false);
  stream_t *near, *far;
  stream_peer_t peer;
  failure_t f = {0};
  pair(listener, &near, &far);
  assert_true(stream_peer(far, &peer, &f));
  assert_int_equal(peer.uid, geteuid());
  assert_int_equal(peer.pid, getpid());
  stream_close(near);
  stream_close(far);
  listener_close(listener);
}

static void the_socket_is_private(void **state) {
  listener_t *listener = listening(true);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_false(uv_loop_alive(&runtime.loop)); /* it is in the background */
  listener_close(listener);
}

static void what_waits_for_what_is_closed_is_told(void **state) {
  listener_t *listener = listening(false);
  stream_t *near, *far;
  pair(listener, &near, &far);
  op_t *accepting = listener_accept(listener), *reading = stream_read(near);
  assert_fails(listener_accept(listener), "system", "EBUSY");
  assert_fails(stream_read(near), "system", "EBUSY");
  listener_close(listener);
  stream_close(near);
  assert_fails(accepting, "closed", "closed");
  assert_fails(reading, "closed", "closed");
  stream_close(far);
}

static void a_wait_can_be_given_up(void **state) {
  listener_t *listener = listening(false);
  stream_t *near, *far;
  pair(listener, &near, &far);
  op_release(listener_accept(listener));
  op_release(stream_read(near));
  op_release(stream_connect(&runtime.loop, path));
  assert_written(far, "still");
  assert_read(near, "still");
  stream_close(near);
  stream_close(far);
  listener_close(listener);
}

/* The kernel takes no more: libuv keeps the rest until the connection is closed. */
static void a_peer_that_does_not_read_holds_up_nobody(void **state) {
  enum { MUCH = 8 * 1024 * 1024 };
  listener_t *listener = listening(false);
  stream_t *near, *far;
  pair(listener, &near, &far);
  char *much = calloc(1, MUCH);
  op_t *given_up = stream_write(near, much, MUCH), *closed = stream_write(near, much, MUCH);
  loop_run_for(&runtime, 10);
  assert_false(op_is_done(given_up));
  op_release(given_up);
  stream_close(near);
  assert_fails(closed, "closed", "closed");
  stream_close(far);
  listener_close(listener);
  free(much);
}

static void nobody_listens(void **state) {
  assert_fails(stream_connect(&runtime.loop, path), "network", "ENOENT");
  listener_t *listener = listening(false);
  failure_t f = {0};
  assert_null(listener_open(&runtime.loop, path, false, &f));
  assert_string_equal(f.code, "EADDRINUSE");
  listener_close(listener);
  char longer[200];
  memset(longer, 'x', sizeof longer);
  longer[0] = '/';
  longer[sizeof longer - 1] = 0;
  assert_fails(stream_connect(&runtime.loop, longer), "limit", "ENAMETOOLONG");
  failure_t limit = {0};
  assert_null(listener_open(&runtime.loop, longer, false, &limit));
  assert_string_equal(limit.code, "ENAMETOOLONG");
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(bytes_go_both_ways),
      test(who_connects_before_anybody_accepts_is_kept),
      test(the_peer_is_known),
      test(the_socket_is_private),
      test(what_waits_for_what_is_closed_is_told),
      test(a_wait_can_be_given_up),
      test(a_peer_that_does_not_read_holds_up_nobody),
      test(nobody_listens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
