/* ws_test.c - open websockets against servers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/ws_client.h"

static ws_t *open_ws(const fake_t *fake) {
  ws_options_t options = ws_options_for(fake);
  return ws_open_with(&options);
}

/* Receives one message and compares it; type "closed", "eof", "reset" for the end. */
static void expect(ws_t *ws, const char *type, const void *data, size_t size) {
  op_t *op = ws_recv(ws);
  const char *got;
  size_t got_size;
  loop_wait(&client, op);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  assert_string_equal(ws_peek(op, &got, &got_size), type);
  assert_int_equal(got_size, size);
  if (data)
    assert_memory_equal(got, data, size);
  else
    assert_null(got);
  ws_drop(op);
  op_release(op);
}

static failure_t expect_failure(ws_t *ws, const char *kind) {
  op_t *op = ws_recv(ws);
  loop_wait(&client, op);
  assert_true(failure_is_set(&op->failure));
  if (strcmp(op->failure.kind, kind) != 0) fail_msg("kind %s: %s", op->failure.kind, op->failure.message);
  failure_t f = op->failure;
  op_release(op);
  return f;
}

static void send_well(ws_t *ws, const void *data, size_t size, bool text) {
  op_t *op = ws_send(ws, data, size, text);
  loop_wait(&client, op);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  op_release(op);
}

/* --- receiving --- */

/* Upgrades, then sends `arg`'s bytes one at a time, and the 101 too. */
typedef struct bytes_script {
  unsigned char data[4096];
  size_t size;
  bool slowly, with_reply, reset, stall;
} script_t;

static void add_frame(script_t *s, int opcode, bool fin, const char *text) {
  s->size += ws_fake_encode(s->data + s->size, opcode, fin, text, strlen(text));
}

static void play(peer_t *peer, int number, void *arg) {
  script_t *s = arg;
  unsigned char out[sizeof s->data + 256];
  if (!ws_fake_accept(peer, (char *)out, 256)) return;
  size_t head = strlen((char *)out);
  memcpy(out + head, s->data, s->size);
  size_t all = head + s->size;
  if (s->slowly)
    peer_say_slowly(peer, out, all);
  else if (s->with_reply)
    peer_write(peer, out, all);
  else if (peer_write(peer, out, head))
    peer_write(peer, s->data, s->size);
  if (s->reset) {
    usleep(50000); /* the bytes must be read before the reset destroys them */
    peer_reset(peer);
  }
  if (s->stall) peer_stall(peer);
}

static void frames_byte_by_byte(void **state) {
  script_t s = {.slowly = true};
  add_frame(&s, WS_BINARY, true, "one");
  add_frame(&s, WS_BINARY, true, "");
  add_frame(&s, WS_TEXT, true, "two \303\244");
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  expect(ws, "binary", "one", 3);
  expect(ws, "binary", "", 0);
  expect(ws, "text", "two \303\244", 6);
  expect(ws, "eof", NULL, 0);
  expect(ws, "eof", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

static void frames_that_come_with_the_handshake(void **state) {
  script_t s = {.with_reply = true, .stall = true};
  add_frame(&s, WS_PING, true, "keepalive");
  add_frame(&s, WS_BINARY, true, "early");
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  expect(ws, "binary", "early", 5);
  ws_close(ws);
  fake_stop(fake);
}

static void fragments_are_one_message_also_around_a_ping(void **state) {
  script_t s = {.stall = true};
  add_frame(&s, WS_TEXT, false, "frag");
  add_frame(&s, WS_CONTINUATION, false, "men");
  add_frame(&s, WS_PING, true, "");
  add_frame(&s, WS_CONTINUATION, true, "ted");
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  expect(ws, "text", "fragmented", 10);
  ws_close(ws);
  fake_stop(fake);
}

static void a_close_frame_ends_the_stream_after_what_came_before(void **state) {
  script_t s = {.stall = true};
  add_frame(&s, WS_BINARY, true, "last");
  add_frame(&s, WS_CLOSE, true, "\003\350bye");
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  loop_run_for(&client, 20);
  expect(ws, "binary", "last", 4);
  expect(ws, "closed", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

static void a_cut_in_a_frame_is_an_end_of_file(void **state) {
  script_t s = {.data = {0x82, 100, 'h', 'a', 'l', 'f'}, .size = 6};
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  expect(ws, "eof", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

static void a_reset_is_told_from_an_end_of_file(void **state) {
  script_t s = {.reset = true};
  add_frame(&s, WS_BINARY, true, "before");
  fake_t *fake = fake_tcp(play, &s);
  char url[64];
  snprintf(url, sizeof url, "ws://127.0.0.1:%d/", fake_port(fake));
  ws_options_t o = {.url = url, .timeout = 10, .max_bytes = 1000};
  ws_t *ws = ws_open_with(&o);
  expect(ws, "binary", "before", 6);
  expect(ws, "reset", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

static void violations_of_the_protocol_fail_after_what_came_before(void **state) {
  const struct {
    const char *bytes;
    size_t size;
  } bad[] = {
      {"\x82\x83mask\0\0\0", 9},                        /* a server's frame must not be masked */
      {"\xc2\x00", 2},                                  /* a reserved bit */
      {"\x80\x00", 2},                                  /* a continuation of nothing */
      {"\x83\x00", 2},                                  /* an unknown opcode */
      {"\x81\x02\xff\xfe", 4},                          /* text that is no UTF-8 */
      {"\x89\x7e\x00\x80", 4},                          /* a control frame of 128 bytes */
      {"\x02\x01.\x82\x01.", 6},                        /* a new message inside another */
      {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10}, /* a length of 2^64 - 1 */
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    script_t s = {.stall = true};
    add_frame(&s, WS_BINARY, true, "good");
    memcpy(s.data + s.size, bad[i].bytes, bad[i].size);
    s.size += bad[i].size;
    fake_t *fake = fake_unix(play, &s);
    ws_t *ws = open_ws(fake);
    expect(ws, "binary", "good", 4);
    expect_failure(ws, "protocol");
    expect_failure(ws, "protocol"); /* and so each time */
    ws_close(ws);
    fake_stop(fake);
  }
}

static void an_oversized_message_fails_with_limit(void **state) {
  script_t s = {.data = {0x82, 0x7f, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, '.'}, .size = 11, .stall = true};
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  failure_t f = expect_failure(ws, "limit");
  assert_false(f.retryable);
  ws_close(ws);
  fake_stop(fake);
}

static void flood(peer_t *peer, int number, void *arg) {
  char block[1000] = "";
  if (!ws_fake_upgrade(peer)) return;
  while (ws_fake_send(peer, WS_BINARY, true, block, *(size_t *)arg)) {}
}

static void messages_that_nobody_reads_are_limited(void **state) {
  for (int i = 0; i < 2; i++) {
    size_t size = i ? 1000 : 0; /* empty ones cost memory too */
    fake_t *fake = fake_unix(flood, &size);
    ws_options_t o = ws_options_for(fake);
    o.max_bytes = 10240;
    ws_t *ws = ws_open_with(&o);
    loop_run_for(&client, 50);
    int n = 0;
    op_t *op;
    for (;; n++) {
      const char *data;
      size_t got;
      op = ws_recv(ws);
      loop_wait(&client, op);
      if (failure_is_set(&op->failure)) break;
      assert_string_equal(ws_peek(op, &data, &got), "binary");
      ws_drop(op);
      op_release(op);
    }
    assert_string_equal(op->failure.kind, "limit");
    assert_in_range(n, 9, 1000);
    op_release(op);
    ws_close(ws);
    fake_stop(fake);
  }
}

/* 32 KiB frames are what Incus sends; 64 MiB of them, as output of a command. */
static void pour(peer_t *peer, int number, void *arg) {
  static unsigned char block[32768];
  if (!ws_fake_upgrade(peer)) return;
  for (int i = 0; i < 2048; i++) {
    memset(block, i, sizeof block);
    if (!ws_fake_send(peer, WS_BINARY, true, block, sizeof block)) return;
  }
  ws_fake_send(peer, WS_TEXT, true, "", 0);
}

static void reads_much(void **state) {
  fake_t *fake = fake_unix(pour, NULL);
  ws_options_t o = ws_options_for(fake);
  o.max_bytes = 256 << 20;
  ws_t *ws = ws_open_with(&o);
  for (int i = 0; i < 2048; i++) {
    op_t *op = ws_recv(ws);
    const char *data;
    size_t size;
    loop_wait(&client, op);
    assert_string_equal(ws_peek(op, &data, &size), "binary");
    assert_int_equal(size, 32768);
    assert_int_equal((unsigned char)data[0], i & 255);
    assert_int_equal((unsigned char)data[32767], i & 255);
    ws_drop(op);
    op_release(op);
  }
  expect(ws, "text", "", 0);
  expect(ws, "eof", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

static void a_reader_who_gives_up_loses_nothing(void **state) {
  fake_t *fake = fake_unix(ws_fake_echo, NULL);
  ws_t *ws = open_ws(fake);
  op_t *op = ws_recv(ws);
  assert_true(ws_has_reader(ws));
  op_release(op); /* while waiting */
  assert_false(ws_has_reader(ws));
  send_well(ws, "kept", 4, false);
  op = ws_recv(ws);
  loop_wait(&client, op);
  op_release(op); /* after the message came, without taking it */
  expect(ws, "binary", "kept", 4);
  ws_close(ws);
  fake_stop(fake);
}

/* --- pings --- */

static void ping_and_expect_pong(peer_t *peer, int number, void *arg) {
  ws_frame_t f;
  if (!ws_fake_upgrade(peer)) return;
  usleep(20000);
  ws_fake_send(peer, WS_PING, true, "keepalive", 9);
  if (!ws_fake_receive(peer, &f)) return;
  if (f.opcode == WS_PONG && f.masked && f.size == 9 && memcmp(f.data, "keepalive", 9) == 0)
    ws_fake_send(peer, WS_TEXT, true, "good", 4);
  free(f.data);
  peer_stall(peer);
}

static void a_ping_is_answered_without_a_reader(void **state) {
  fake_t *fake = fake_unix(ping_and_expect_pong, NULL);
  ws_t *ws = open_ws(fake);
  op_t *op = ws_wait_ping(ws);
  assert_false(op_is_done(op));
  loop_wait(&client, op);
  assert_false(failure_is_set(&op->failure));
  op_release(op);
  expect(ws, "text", "good", 4);
  op = ws_wait_ping(ws);
  assert_true(op_is_done(op)); /* once is for ever */
  op_release(op);
  ws_close(ws);
  fake_stop(fake);
}

static void ping_and_never_read(peer_t *peer, int number, void *arg) {
  if (!ws_fake_upgrade(peer)) return;
  while (ws_fake_send(peer, WS_PING, true, "", 0)) {}
}

static void pings_whose_answers_are_not_read_are_limited(void **state) {
  fake_t *fake = fake_unix(ping_and_never_read, NULL);
  ws_t *ws = open_ws(fake);
  expect_failure(ws, "protocol");
  ws_close(ws);
  fake_stop(fake);
}

static void waiting_for_a_ping_ends_with_the_stream(void **state) {
  script_t s = {.size = 0};
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  op_t *op = ws_wait_ping(ws);
  loop_wait(&client, op);
  assert_string_equal(op->failure.kind, "closed");
  op_release(op);
  ws_close(ws);
  fake_stop(fake);
}

/* --- sending --- */

static void sends_are_echoed(void **state) {
  fake_t *fake = fake_unix(ws_fake_echo, NULL);
  ws_t *ws = open_ws(fake);
  send_well(ws, "binary\0", 7, false);
  send_well(ws, "", 0, true);
  send_well(ws, "text", 4, true);
  expect(ws, "binary", "binary\0", 7);
  expect(ws, "text", "", 0);
  expect(ws, "text", "text", 4);
  ws_close(ws);
  fake_stop(fake);
}

static void sends_sixteen_mebibytes_while_receiving_them(void **state) {
  size_t size = 16 << 20;
  char *big = malloc(size);
  for (size_t i = 0; i < size; i++) big[i] = (char)(i * 7 + (i >> 13));
  fake_t *fake = fake_unix(ws_fake_echo, NULL);
  ws_t *ws = open_ws(fake);
  op_t *reader = ws_recv(ws);
  op_t *first = ws_send(ws, big, size, false);
  op_t *second = ws_send(ws, "tail", 4, true);
  loop_wait(&client, second);
  loop_wait(&client, first);
  loop_wait(&client, reader);
  const char *data;
  size_t got;
  assert_string_equal(ws_peek(reader, &data, &got), "binary");
  assert_int_equal(got, size);
  assert_memory_equal(data, big, size);
  ws_drop(reader);
  op_release(reader);
  op_release(first);
  op_release(second);
  expect(ws, "text", "tail", 4);
  ws_close(ws);
  free(big);
  fake_stop(fake);
}

static void deaf(peer_t *peer, int number, void *arg) {
  if (!ws_fake_upgrade(peer)) return;
  while (!__atomic_load_n((int *)arg, __ATOMIC_SEQ_CST)) usleep(1000);
}

static void a_send_waits_while_much_is_unsent_and_fails_with_the_connection(void **state) {
  int hang_up = 0;
  char *big = calloc(1, 4 << 20);
  fake_t *fake = fake_unix(deaf, &hang_up);
  ws_t *ws = open_ws(fake);
  op_t *op = ws_send(ws, big, 4 << 20, false);
  op_t *given_up = ws_send(ws, "x", 1, false);
  loop_run_for(&client, 20);
  assert_false(op_is_done(op));
  op_release(given_up);
  __atomic_store_n(&hang_up, 1, __ATOMIC_SEQ_CST);
  loop_wait(&client, op);
  assert_string_equal(op->failure.kind, "closed");
  assert_true(op->failure.outcome_unknown);
  op_release(op);
  op = ws_send(ws, "late", 4, false);
  assert_true(op_is_done(op));
  assert_string_equal(op->failure.kind, "closed");
  assert_false(op->failure.outcome_unknown); /* nothing of it was sent */
  op_release(op);
  ws_close(ws);
  free(big);
  fake_stop(fake);
}

/* A server that stops taking input may still have said something. */
static void talk_and_stop_reading(peer_t *peer, int number, void *arg) {
  if (!ws_fake_upgrade(peer)) return;
  shutdown(peer->fd, SHUT_RD);
  usleep(50000);
  ws_fake_send(peer, WS_BINARY, true, "output", 6);
  ws_fake_send(peer, WS_TEXT, true, "", 0);
}

static void a_dead_input_does_not_lose_output(void **state) {
  fake_t *fake = fake_unix(talk_and_stop_reading, NULL);
  ws_t *ws = open_ws(fake);
  loop_run_for(&client, 20);
  op_t *op = ws_send(ws, "input", 5, false);
  loop_wait(&client, op);
  assert_string_equal(op->failure.kind, "closed");
  op_release(op);
  expect(ws, "binary", "output", 6);
  expect(ws, "text", "", 0);
  expect(ws, "eof", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

/* --- closing --- */

static void keep_last_frame(peer_t *peer, int number, void *arg) {
  ws_frame_t f;
  if (!ws_fake_upgrade(peer)) return;
  while (ws_fake_receive(peer, &f)) {
    __atomic_store_n((int *)arg, f.opcode, __ATOMIC_SEQ_CST);
    free(f.data);
  }
}

static void close_says_so_and_fails_what_waits(void **state) {
  int last = -1;
  fake_t *fake = fake_unix(keep_last_frame, &last);
  ws_t *ws = open_ws(fake);
  op_t *reader = ws_recv(ws), *ping = ws_wait_ping(ws);
  ws_close(ws);
  loop_wait(&client, reader);
  loop_wait(&client, ping);
  assert_string_equal(reader->failure.kind, "closed");
  assert_string_equal(ping->failure.kind, "closed");
  op_release(reader);
  op_release(ping);
  loop_run_for(&client, 1);
  for (int i = 0; i < 200 && __atomic_load_n(&last, __ATOMIC_SEQ_CST) != WS_CLOSE; i++) usleep(10000);
  assert_int_equal(last, WS_CLOSE);
  fake_stop(fake);
}

static void close_between_a_message_and_its_reader(void **state) {
  script_t s = {.stall = true};
  add_frame(&s, WS_BINARY, true, "message");
  fake_t *fake = fake_unix(play, &s);
  ws_t *ws = open_ws(fake);
  op_t *op = ws_recv(ws);
  loop_wait(&client, op);
  ws_close(ws);
  const char *data;
  size_t size;
  assert_string_equal(ws_peek(op, &data, &size), "closed");
  assert_null(data);
  ws_drop(op);
  op_release(op);
  fake_stop(fake);
}

static void many_sockets_beside_requests(void **state) {
  fake_t *fake = fake_unix(ws_fake_echo, NULL);
  ws_t *sockets[20];
  for (int i = 0; i < 20; i++) sockets[i] = open_ws(fake);
  for (int i = 0; i < 20; i++) send_well(sockets[i], &i, sizeof i, false);
  for (int i = 0; i < 20; i++) expect(sockets[i], "binary", &i, sizeof i);
  for (int i = 0; i < 20; i++) ws_close(sockets[i]);
  fake_stop(fake);
}

/* --- TLS --- */

static char *cert, *key;

static int make_identity(void **state) {
  make_certificate("localhost", &cert, &key);
  return 0;
}

static int free_identity(void **state) {
  free(cert);
  free(key);
  return 0;
}

static ws_options_t options_for_tls(const fake_t *fake) {
  static char url[64];
  snprintf(url, sizeof url, "wss://127.0.0.1:%d/", fake_port(fake));
  return (ws_options_t){.url = url, .timeout = 10, .max_bytes = 256 << 20, .tls.pinned = cert};
}

static void a_pinned_certificate_is_demanded(void **state) {
  fake_t *fake = fake_tls(cert, key, NULL, ws_fake_echo, NULL);
  ws_options_t o = options_for_tls(fake);
  ws_t *ws = ws_open_with(&o);
  send_well(ws, "over tls", 8, true);
  expect(ws, "text", "over tls", 8);
  ws_close(ws);
  o.tls.pinned = NULL;
  ws_refused(&o, "tls");
  o.tls.pinned = "no certificate";
  ws_refused(&o, "tls");
  fake_stop(fake);
}

/* One TLS record may hold many frames: once decrypted, no readiness of the descriptor tells of the rest. */
static void reads_much_over_tls(void **state) {
  fake_t *fake = fake_tls(cert, key, NULL, pour, NULL);
  ws_options_t o = options_for_tls(fake);
  ws_t *ws = ws_open_with(&o);
  for (int i = 0; i < 2048; i++) {
    op_t *op = ws_recv(ws);
    const char *data;
    size_t size;
    loop_wait(&client, op);
    assert_string_equal(ws_peek(op, &data, &size), "binary");
    assert_int_equal(size, 32768);
    assert_int_equal((unsigned char)data[0], i & 255);
    ws_drop(op);
    op_release(op);
  }
  expect(ws, "text", "", 0);
  expect(ws, "eof", NULL, 0);
  ws_close(ws);
  fake_stop(fake);
}

static void sends_much_over_tls(void **state) {
  size_t size = 8 << 20;
  char *big = malloc(size);
  for (size_t i = 0; i < size; i++) big[i] = (char)(i * 31 + (i >> 11));
  fake_t *fake = fake_tls(cert, key, NULL, ws_fake_echo, NULL);
  ws_options_t o = options_for_tls(fake);
  ws_t *ws = ws_open_with(&o);
  send_well(ws, big, size, false);
  expect(ws, "binary", big, size);
  ws_close(ws);
  free(big);
  fake_stop(fake);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_begin, client_end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(frames_byte_by_byte),
      TEST(frames_that_come_with_the_handshake),
      TEST(fragments_are_one_message_also_around_a_ping),
      TEST(a_close_frame_ends_the_stream_after_what_came_before),
      TEST(a_cut_in_a_frame_is_an_end_of_file),
      TEST(a_reset_is_told_from_an_end_of_file),
      TEST(violations_of_the_protocol_fail_after_what_came_before),
      TEST(an_oversized_message_fails_with_limit),
      TEST(messages_that_nobody_reads_are_limited),
      TEST(reads_much),
      TEST(a_reader_who_gives_up_loses_nothing),
      TEST(a_ping_is_answered_without_a_reader),
      TEST(pings_whose_answers_are_not_read_are_limited),
      TEST(waiting_for_a_ping_ends_with_the_stream),
      TEST(sends_are_echoed),
      TEST(sends_sixteen_mebibytes_while_receiving_them),
      TEST(a_send_waits_while_much_is_unsent_and_fails_with_the_connection),
      TEST(a_dead_input_does_not_lose_output),
      TEST(close_says_so_and_fails_what_waits),
      TEST(close_between_a_message_and_its_reader),
      TEST(many_sockets_beside_requests),
      TEST(a_pinned_certificate_is_demanded),
      TEST(reads_much_over_tls),
      TEST(sends_much_over_tls),
  };
  return cmocka_run_group_tests(tests, make_identity, free_identity);
}
