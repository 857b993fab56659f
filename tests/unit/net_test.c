#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/net.h"

static uv_loop_t loop;

static void wake(op_t *op) { *(bool *)op->waiter = true; }

static op_t *finish(op_t *op) {
  bool done = op_is_done(op);
  op->wake = wake;
  op->waiter = &done;
  while (!done && uv_run(&loop, UV_RUN_ONCE)) {}
  assert_true(done);
  return op;
}

static int set_up(void **state) { return uv_loop_init(&loop); }

static int tear_down(void **state) {
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop);
}

/* A socket bound to a free port of 127.0.0.1; with a backlog it accepts connections. */
static int bound_socket(int backlog, uint16_t *port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof a;
  assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
  if (backlog) assert_int_equal(listen(fd, backlog), 0);
  *port = ntohs(a.sin_port);
  return fd;
}

static void assert_probe(const char *address, uint16_t port, uint64_t ms, const char *refusal) {
  op_t *op = finish(net_probe(&loop, address, port, ms));
  assert_false(failure_is_set(&op->failure));
  if (refusal) {
    assert_non_null(net_probe_refusal(op));
    assert_string_equal(net_probe_refusal(op), refusal);
  } else {
    assert_null(net_probe_refusal(op));
  }
  op_release(op);
}

static void a_port_that_listens_answers(void **state) {
  uint16_t port;
  int fd = bound_socket(5, &port);
  assert_probe("127.0.0.1", port, 10000, NULL);
  assert_probe("localhost", port, 10000, NULL);
  close(fd);
}

static void a_port_that_does_not_listen_refuses(void **state) {
  uint16_t port;
  int fd = bound_socket(0, &port);
  assert_probe("127.0.0.1", port, 10000, "ECONNREFUSED");
  close(fd);
}

static void a_peer_that_says_nothing_times_out(void **state) {
  uint16_t port;
  int fd = bound_socket(1, &port);
  /* With its backlog full, Linux drops what else comes. */
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                          .sin_port = htons(port)};
  int fillers[4];
  for (int i = 0; i < 4; i++) {
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)!connect(fillers[i], (struct sockaddr *)&a, sizeof a);
  }
  assert_probe("127.0.0.1", port, 100, "ETIMEDOUT");
  for (int i = 0; i < 4; i++) close(fillers[i]);
  close(fd);
}

static void a_name_that_is_none_is_told(void **state) {
  op_t *op = finish(net_probe(&loop, "no-such-name.invalid", 1, 60000));
  assert_non_null(net_probe_refusal(op));
  assert_memory_equal(net_probe_refusal(op), "EAI_", 4);
  op_release(op);
  op = finish(net_resolve(&loop, "no-such-name.invalid"));
  assert_string_equal(op->failure.kind, "network");
  assert_memory_equal(op->failure.code, "EAI_", 4);
  op_release(op);
  char name[2000];
  memset(name, 'x', sizeof name);
  name[sizeof name - 1] = '\0';
  op = finish(net_resolve(&loop, name));
  assert_string_equal(op->failure.kind, "network");
  op_release(op);
  op = finish(net_probe(&loop, name, 1, 60000));
  assert_non_null(net_probe_refusal(op));
  op_release(op);
}

static void resolves(void **state) {
  op_t *op = finish(net_resolve(&loop, "127.0.0.1"));
  assert_string_equal(net_resolved(op, 0), "127.0.0.1");
  assert_null(net_resolved(op, 1));
  op_release(op);
  op = finish(net_resolve(&loop, "::1"));
  assert_string_equal(net_resolved(op, 0), "::1");
  op_release(op);
}

static void can_be_cancelled_at_any_moment(void **state) {
  uint16_t port;
  int fd = bound_socket(5, &port);
  for (int turns = 0; turns < 4; turns++) {
    op_t *probe = net_probe(&loop, "127.0.0.1", port, 60000), *resolve = net_resolve(&loop, "localhost");
    for (int i = 0; i < turns; i++) {
      uv_run(&loop, UV_RUN_NOWAIT);
      usleep(1000);
    }
    op_release(probe);
    op_release(resolve);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  close(fd);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_port_that_listens_answers),
      TEST(a_port_that_does_not_listen_refuses),
      TEST(a_peer_that_says_nothing_times_out),
      TEST(a_name_that_is_none_is_told),
      TEST(resolves),
      TEST(can_be_cancelled_at_any_moment),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
