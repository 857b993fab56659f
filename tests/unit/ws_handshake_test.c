/* ws_handshake_test.c - the beginning of websockets with servers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/ws_client.h"

static void say_to_request(peer_t *peer, int number, void *arg) {
  if (peer_request(peer)) peer_say(peer, arg);
}

static void a_refusal_tells_status_and_body(void **state) {
  fake_t *fake = fake_unix(say_to_request, "HTTP/1.1 403 Forbidden\r\nContent-Length: 29\r\n\r\n"
                                           "{\"error\":\"Requestor\nmismatch\"}");
  ws_options_t o = ws_options_for(fake);
  failure_t f = ws_refused(&o, "protocol");
  assert_string_equal(f.code, "403");
  assert_non_null(strstr(f.message, "403 Forbidden: {\"error\":\"Requestor mismatch\""));
  assert_false(f.retryable);
  fake_stop(fake);
}

static void a_refusal_in_chunks_tells_its_body(void **state) {
  fake_t *fake = fake_unix(say_to_request, "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
                                           "4\r\nwait\r\n6\r\n a bit\r\n0\r\n\r\n");
  ws_options_t o = ws_options_for(fake);
  failure_t f = ws_refused(&o, "protocol");
  assert_string_equal(f.code, "503");
  assert_non_null(strstr(f.message, "Busy: wait a bit"));
  assert_true(f.retryable);
  fake_stop(fake);
}

static void say_and_stall(peer_t *peer, int number, void *arg) {
  if (peer_request(peer)) peer_say(peer, arg);
  peer_stall(peer);
}

static void a_refusal_whose_body_stalls_is_still_a_refusal(void **state) {
  fake_t *fake = fake_unix(say_and_stall, "HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf");
  ws_options_t o = ws_options_for(fake);
  o.timeout = 0.1;
  failure_t f = ws_refused(&o, "protocol");
  assert_string_equal(f.code, "404");
  fake_stop(fake);
}

static void what_is_no_handshake_is_a_protocol_failure(void **state) {
  const char *const texts[] = {
      "SSH-2.0-OpenSSH_9.2\r\n",
      "\1\2\3",
      "HTTP/1.1 1x1 What\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fake_t *fake =
        fake_unix(say_and_stall, (void *)texts[i]); /* judged at once, not at the end or by the clock */
    ws_options_t o = ws_options_for(fake);
    failure_t f = ws_refused(&o, "protocol");
    assert_string_equal(f.code, "bad handshake");
    fake_stop(fake);
  }
}

static void endless_header(peer_t *peer, int number, void *arg) {
  if (!peer_request(peer)) return;
  peer_say(peer, "HTTP/1.1 101 Switching Protocols\r\n");
  while (peer_say(peer, "X-More: 0123456789012345678901234567890123456789\r\n")) {}
}

static void an_endless_header_is_refused(void **state) {
  fake_t *fake = fake_unix(endless_header, NULL);
  ws_options_t o = ws_options_for(fake);
  ws_refused(&o, "protocol");
  fake_stop(fake);
}

static void an_end_during_the_handshake_is_a_network_failure(void **state) {
  const char *const texts[] = {"", "HTTP/1.1 101 Switch"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fake_t *fake = fake_unix(say_to_request, (void *)texts[i]);
    ws_options_t o = ws_options_for(fake);
    failure_t f = ws_refused(&o, "network");
    assert_true(f.retryable);
    fake_stop(fake);
  }
}

static void a_stall_in_the_handshake_is_a_timeout(void **state) {
  const char *const texts[] = {"", "HTTP/1.1 101 Switch"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fake_t *fake = fake_unix(say_and_stall, (void *)texts[i]);
    ws_options_t o = ws_options_for(fake);
    o.timeout = 0.1;
    ws_refused(&o, "timeout");
    fake_stop(fake);
  }
}

static void names_the_reason_why_a_socket_cannot_be_opened(void **state) {
  ws_options_t o = {
      .url = "ws://server/", .unix_socket = "/tmp/pgafrun-no-such-socket", .timeout = 1, .max_bytes = 1};
  failure_t f = ws_refused(&o, "network");
  assert_string_equal(f.code, "ENOENT");
}

static void urls_that_cannot_be_asked_for_are_failures_of_data(void **state) {
  const char *const urls[] = {"ws://user:hunter2@server/", "ws://[::1/", "ws://server:99999/"};
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    ws_options_t o = {.url = urls[i], .timeout = 1, .max_bytes = 1};
    ws_refused(&o, "data");
  }
}

static void keep_request(peer_t *peer, int number, void *arg) {
  if (!ws_fake_upgrade(peer)) return;
  memcpy(arg, peer->text, peer->size + 1);
  peer_stall(peer);
}

static void the_request_is_a_plain_upgrade(void **state) {
  static char text[70000];
  fake_t *fake = fake_unix(keep_request, text);
  ws_options_t o = ws_options_for(fake);
  http_header_t header = {"X-Extra", "yes"};
  o.headers = &header;
  o.header_count = 1;
  ws_close(ws_open_with(&o));
  fake_stop(fake);
  assert_memory_equal(text, "GET /socket?secret=hunter2 HTTP/1.1\r\nHost: server\r\n", 51);
  assert_non_null(strstr(text, "\r\nX-Extra: yes\r\n"));
  assert_non_null(strstr(text, "\r\nSec-WebSocket-Version: 13\r\n"));
  assert_null(strcasestr(text, "\r\nOrigin:"));
  assert_null(strcasestr(text, "Extensions"));
}

static void cancelled_at_any_point_of_the_handshake(void **state) {
  fake_t *fake = fake_unix(say_and_stall, "HTTP/1.1 101 Switch");
  ws_options_t o = ws_options_for(fake);
  op_release(ws_connect(&client, &o));
  op_t *op = ws_connect(&client, &o);
  uv_run(&client.loop, UV_RUN_NOWAIT);
  op_release(op);
  op = ws_connect(&client, &o);
  loop_run_for(&client, 20);
  op_release(op);
  fake_stop(fake);
  /* and after it, before anybody took the socket */
  fake = fake_unix(ws_fake_echo, NULL);
  o = ws_options_for(fake);
  op = ws_connect(&client, &o);
  loop_wait(&client, op);
  op_release(op);
  fake_stop(fake);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_begin, client_end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_refusal_tells_status_and_body),
      TEST(a_refusal_in_chunks_tells_its_body),
      TEST(a_refusal_whose_body_stalls_is_still_a_refusal),
      TEST(what_is_no_handshake_is_a_protocol_failure),
      TEST(an_endless_header_is_refused),
      TEST(an_end_during_the_handshake_is_a_network_failure),
      TEST(a_stall_in_the_handshake_is_a_timeout),
      TEST(names_the_reason_why_a_socket_cannot_be_opened),
      TEST(urls_that_cannot_be_asked_for_are_failures_of_data),
      TEST(the_request_is_a_plain_upgrade),
      TEST(cancelled_at_any_point_of_the_handshake),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
