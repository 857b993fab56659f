#include "http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

runtime_t client;

int client_begin(void **state) {
  loop_begin(&client);
  return 0;
}

int client_end(void **state) {
  loop_end(&client);
  return 0;
}

http_options_t http_get(const fake_t *fake) {
  return (http_options_t){
      .url = "http://server/path",
      .unix_socket = fake_path(fake),
      .timeout = 20,
      .connect_timeout = 10,
      .max_bytes = 1 << 20,
  };
}

http_options_t http_get_tcp(const fake_t *fake, const char *scheme) {
  static char url[64];
  snprintf(url, sizeof url, "%s://127.0.0.1:%d/path", scheme, fake_port(fake));
  return (http_options_t){.url = url, .timeout = 20, .connect_timeout = 10, .max_bytes = 1 << 20};
}

op_t *http_perform(const http_options_t *options) {
  op_t *op = http_start(&client, options);
  assert_non_null(op);
  loop_wait(&client, op);
  return op;
}

void http_expect(const http_options_t *options, int status, const char *body) {
  op_t *op = http_perform(options);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  const http_response_t *r = http_response(op);
  assert_int_equal(r->status, status);
  assert_int_equal(r->body_size, strlen(body));
  if (*body) assert_memory_equal(r->body, body, r->body_size);
  op_release(op);
}

failure_t http_expect_failure(const http_options_t *options, const char *kind) {
  op_t *op = http_perform(options);
  assert_true(failure_is_set(&op->failure));
  if (strcmp(op->failure.kind, kind) != 0)
    fail_msg("kind %s, code %s: %s", op->failure.kind, op->failure.code, op->failure.message);
  failure_t f = op->failure;
  op_release(op);
  return f;
}

void say(peer_t *peer, int number, void *arg) {
  while (peer_request(peer))
    if (!peer_say(peer, arg)) return;
}
