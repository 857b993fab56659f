/* http_test.c - HTTP requests against servers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/http_client.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static const char *header_of(const http_response_t *r, const char *name) {
  for (const char *at = r->headers; at < r->headers + r->headers_size;) {
    const char *value = at + strlen(at) + 1;
    if (strcmp(at, name) == 0) return value;
    at = value + strlen(value) + 1;
  }
  return NULL;
}

/* Says arg to the first request, then closes. */
static void say_and_close(peer_t *peer, int number, void *arg) {
  if (peer_request(peer)) peer_say(peer, arg);
}

/* --- answers --- */

static void gives_status_headers_and_body(void **state) {
  fake_t *fake = fake_unix(say, "HTTP/1.1 203 Fine\r\nX-Mixed-CASE:  a b \r\nContent-Length: 5\r\n\r\nhello");
  http_options_t o = http_get(fake);
  op_t *op = http_perform(&o);
  assert_false(failure_is_set(&op->failure));
  const http_response_t *r = http_response(op);
  assert_int_equal(r->status, 203);
  assert_int_equal(r->body_size, 5);
  assert_memory_equal(r->body, "hello", 5);
  assert_string_equal(header_of(r, "x-mixed-case"), "a b");
  assert_null(header_of(r, "X-Mixed-CASE"));
  op_release(op);
  fake_stop(fake);
}

static void keeps_repeated_headers_apart_and_forgets_interim_answers(void **state) {
  fake_t *fake = fake_unix(say, "HTTP/1.1 100 Continue\r\nX-Interim: yes\r\n\r\n"
                                "HTTP/1.1 200 OK\r\nA: 1\r\nA: 2\r\nContent-Length: 0\r\n\r\n");
  http_options_t o = http_get(fake);
  op_t *op = http_perform(&o);
  const http_response_t *r = http_response(op);
  assert_int_equal(r->status, 200);
  assert_null(header_of(r, "x-interim"));
  assert_int_equal(r->headers_size, sizeof "a\0001\0a\0002\0content-length\0000" /* with its last NUL */);
  assert_memory_equal(r->headers, "a\0001\0a\0002\0", 8);
  op_release(op);
  fake_stop(fake);
}

static void slowly(peer_t *peer, int number, void *arg) {
  if (peer_request(peer)) peer_say_slowly(peer, arg, strlen(arg));
}

static void reads_an_answer_that_comes_byte_by_byte(void **state) {
  fake_t *fake = fake_unix(slowly, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
  http_options_t o = http_get(fake);
  http_expect(&o, 200, "0123456789");
  fake_stop(fake);
}

static void reads_chunks(void **state) {
  fake_t *fake =
      fake_unix(slowly,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
  http_options_t o = http_get(fake);
  http_expect(&o, 200, "abcdefg");
  fake_stop(fake);
}

static void a_status_of_refusal_is_an_answer(void **state) {
  fake_t *fake = fake_unix(say, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
  http_options_t o = http_get(fake);
  http_expect(&o, 503, "busy");
  fake_stop(fake);
}

static void does_not_follow_a_redirect(void **state) {
  fake_t *fake = fake_unix(say, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
  http_options_t o = http_get(fake);
  http_expect(&o, 302, "");
  assert_int_equal(fake_accepted(fake), 1);
  fake_stop(fake);
}

static void head_is_not_measured_by_the_length_it_reports(void **state) {
  fake_t *fake = fake_unix(say, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
  http_options_t o = http_get(fake);
  o.method = "HEAD";
  http_expect(&o, 200, "");
  fake_stop(fake);
}

/* --- requests --- */

static void echo(peer_t *peer, int number, void *arg) {
  while (peer_request(peer)) {
    char head[100];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", peer->size);
    if (!peer_say(peer, head) || !peer_write(peer, peer->text, peer->size)) return;
  }
}

static char *sent_by(http_options_t *options) {
  op_t *op = http_perform(options);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  char *text = strndup(http_response(op)->body, http_response(op)->body_size);
  op_release(op);
  return text;
}

static void sends_method_headers_and_body_as_given(void **state) {
  fake_t *fake = fake_unix(echo, NULL);
  http_options_t o = http_get(fake);
  http_header_t headers[] = {{"Content-Type", "application/json"}, {"X-Empty", ""}};
  o.method = "PATCH";
  o.headers = headers;
  o.header_count = 2;
  o.body = "{\"a\":1}";
  o.body_size = 7;
  char *text = sent_by(&o);
  assert_memory_equal(text, "PATCH /path HTTP/1.1\r\n", 22);
  assert_non_null(strstr(text, "\r\nHost: server\r\n"));
  assert_non_null(strstr(text, "\r\nContent-Type: application/json\r\n"));
  assert_non_null(strstr(text, "\r\nX-Empty:\r\n"));
  assert_non_null(strstr(text, "\r\nContent-Length: 7\r\n"));
  assert_null(strcasestr(text, "\r\nExpect:"));
  assert_string_equal(strstr(text, "\r\n\r\n") + 4, "{\"a\":1}");
  free(text);
  fake_stop(fake);
}

static void an_empty_post_says_its_length_and_makes_up_no_type(void **state) {
  fake_t *fake = fake_unix(echo, NULL);
  http_options_t o = http_get(fake);
  o.method = "POST";
  char *text = sent_by(&o);
  assert_non_null(strstr(text, "\r\nContent-Length: 0\r\n"));
  assert_null(strcasestr(text, "\r\nContent-Type:"));
  free(text);
  o.method = "DELETE";
  text = sent_by(&o);
  assert_memory_equal(text, "DELETE ", 7);
  assert_null(strcasestr(text, "\r\nContent-Length:"));
  free(text);
  fake_stop(fake);
}

static void a_body_may_hold_any_bytes(void **state) {
  fake_t *fake = fake_unix(echo, NULL);
  http_options_t o = http_get(fake);
  o.method = "PUT";
  o.body = "\0\r\n\0\377";
  o.body_size = 5;
  op_t *op = http_perform(&o);
  const http_response_t *r = http_response(op);
  assert_memory_equal(r->body + r->body_size - 5, "\0\r\n\0\377", 5);
  op_release(op);
  fake_stop(fake);
}

/* A handle that served one request must not carry anything of it into the next. */
static void a_request_inherits_nothing_from_the_one_before(void **state) {
  fake_t *fake = fake_unix(echo, NULL);
  http_header_t headers[] = {{"X-Secret", "s3cret"}};
  http_options_t first = http_get(fake), second = http_get(fake);
  first.method = "POST";
  first.body = "body";
  first.body_size = 4;
  first.headers = headers;
  first.header_count = 1;
  free(sent_by(&first));
  char *text = sent_by(&second);
  assert_memory_equal(text, "GET /path", 9);
  assert_null(strstr(text, "s3cret"));
  assert_null(strstr(text, "body"));
  free(text);
  fake_stop(fake);
}

/* --- connections --- */

static void keeps_a_connection(void **state) {
  fake_t *fake = fake_unix(say, OK_EMPTY);
  http_options_t o = http_get(fake);
  for (int i = 0; i < 5; i++) http_expect(&o, 200, "");
  assert_int_equal(fake_accepted(fake), 1);
  fake_stop(fake);
}

static void many_at_a_time(void **state) {
  fake_t *fake = fake_unix(echo, NULL);
  http_options_t o = http_get(fake);
  op_t *ops[40];
  for (int i = 0; i < 40; i++) assert_non_null(ops[i] = http_start(&client, &o));
  for (int i = 0; i < 40; i++) {
    loop_wait(&client, ops[i]);
    assert_false(failure_is_set(&ops[i]->failure));
    assert_int_equal(http_response(ops[i])->status, 200);
    op_release(ops[i]);
  }
  fake_stop(fake);
}

/* The first connection answers once, reads one more request and dies on it; others answer. */
static void die_on_the_second(peer_t *peer, int number, void *arg) {
  int *requests = arg;
  bool more = peer_request(peer);
  if (more) __atomic_add_fetch(requests, 1, __ATOMIC_SEQ_CST);
  if (!more || !peer_say(peer, OK_EMPTY)) return;
  if (peer_request(peer)) __atomic_add_fetch(requests, 1, __ATOMIC_SEQ_CST);
}

static void a_read_is_sent_again_when_a_kept_connection_dies(void **state) {
  int requests = 0;
  fake_t *fake = fake_tcp(die_on_the_second, &requests);
  http_options_t o = http_get_tcp(fake, "http");
  http_expect(&o, 200, "");
  http_expect(&o, 200, "");
  fake_stop(fake);
  assert_int_equal(requests, 3);
}

static void a_mutation_is_never_sent_again(void **state) {
  int requests = 0;
  fake_t *fake = fake_tcp(die_on_the_second, &requests);
  http_options_t o = http_get_tcp(fake, "http");
  http_expect(&o, 200, "");
  o.method = "POST";
  o.mutates = true;
  failure_t f = http_expect_failure(&o, "network");
  assert_true(f.outcome_unknown);
  assert_false(f.retryable);
  fake_stop(fake);
  assert_int_equal(requests, 2);
}

static void a_mutation_over_a_unix_socket_uses_no_old_connection(void **state) {
  int requests = 0;
  fake_t *fake = fake_unix(die_on_the_second, &requests);
  http_options_t o = http_get(fake);
  http_expect(&o, 200, "");
  o.method = "POST";
  o.mutates = true;
  http_expect(&o, 200, "");
  assert_int_equal(fake_accepted(fake), 2);
  fake_stop(fake);
}

/* --- broken answers --- */

static void reset_in_the_body(peer_t *peer, int number, void *arg) {
  if (!peer_request(peer)) return;
  peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  peer_reset(peer);
}

static void a_reset_in_the_body_is_a_network_failure(void **state) {
  fake_t *fake = fake_tcp(reset_in_the_body, NULL);
  http_options_t o = http_get_tcp(fake, "http");
  failure_t f = http_expect_failure(&o, "network");
  assert_true(f.retryable);
  assert_false(f.outcome_unknown);
  fake_stop(fake);
}

static void a_short_body_is_a_network_failure(void **state) {
  fake_t *fake = fake_unix(say_and_close, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  http_options_t o = http_get(fake);
  failure_t f = http_expect_failure(&o, "network");
  assert_true(f.retryable);
  fake_stop(fake);
}

static void no_answer_to_a_mutation_leaves_the_outcome_unknown(void **state) {
  fake_t *fake = fake_unix(say_and_close, "");
  http_options_t o = http_get(fake);
  o.method = "POST";
  o.mutates = true;
  failure_t f = http_expect_failure(&o, "network");
  assert_true(f.outcome_unknown);
  assert_false(f.retryable);
  assert_int_equal(fake_accepted(fake), 1);
  fake_stop(fake);
}

static void garbage_is_a_protocol_failure(void **state) {
  const char *const texts[] = {
      "SSH-2.0-OpenSSH_9.2\r\n",
      "\377\376\375\r\n\r\n",
      "HTTP/1.1 abc OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    fake_t *fake = fake_unix(say_and_close, (void *)texts[i]);
    http_options_t o = http_get(fake);
    failure_t f = http_expect_failure(&o, "protocol");
    assert_non_null(strstr(f.message, "GET http://server/path"));
    fake_stop(fake);
  }
}

/* --- limits --- */

static void stall(peer_t *peer, int number, void *arg) {
  if (peer_request(peer)) peer_say(peer, arg);
  peer_stall(peer);
}

static void a_stall_is_a_timeout(void **state) {
  fake_t *fake = fake_unix(stall, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  http_options_t o = http_get(fake);
  o.timeout = 0.1;
  failure_t f = http_expect_failure(&o, "timeout");
  assert_true(f.retryable);
  o.method = "PUT";
  o.mutates = true;
  f = http_expect_failure(&o, "timeout");
  assert_false(f.retryable);
  assert_true(f.outcome_unknown);
  fake_stop(fake);
}

static void endless(peer_t *peer, int number, void *arg) {
  static char block[65536];
  if (!peer_request(peer)) return;
  peer_say(peer, "HTTP/1.1 200 OK\r\n\r\n");
  while (peer_write(peer, block, sizeof block)) {}
}

static void a_body_beyond_the_limit_is_refused(void **state) {
  fake_t *fake = fake_unix(endless, NULL);
  http_options_t o = http_get(fake);
  failure_t f = http_expect_failure(&o, "limit");
  assert_false(f.retryable);
  fake_stop(fake);
}

static void a_length_beyond_the_limit_is_refused_at_once(void **state) {
  fake_t *fake = fake_unix(stall, "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n.");
  http_options_t o = http_get(fake);
  http_expect_failure(&o, "limit");
  fake_stop(fake);
}

static void endless_header(peer_t *peer, int number, void *arg) {
  if (!peer_request(peer)) return;
  peer_say(peer, "HTTP/1.1 200 OK\r\n");
  while (
      peer_say(peer, "X-More: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n")) {}
}

static void an_endless_header_is_refused(void **state) {
  fake_t *fake = fake_unix(endless_header, NULL);
  http_options_t o = http_get(fake);
  http_expect_failure(&o, "limit");
  fake_stop(fake);
}

/* --- a socket that cannot be reached: what is to be done differs, so the code does --- */

static void names_the_reason_why_a_socket_cannot_be_opened(void **state) {
  fake_t *fake = fake_unix(say, OK_EMPTY);
  http_options_t o = http_get(fake);
  o.unix_socket = "/tmp/pgafrun-no-such-socket";
  failure_t f = http_expect_failure(&o, "network");
  assert_string_equal(f.code, "ENOENT");
  assert_true(f.retryable);
  assert_non_null(strstr(f.message, "/tmp/pgafrun-no-such-socket"));

  o.unix_socket = fake_path(fake);
  bool root = geteuid() == 0;
  if (root)
    assert_int_equal(seteuid(65534), 0);
  else
    assert_int_equal(chmod(fake_path(fake), 0), 0);
  op_t *op = http_perform(&o);
  if (root) assert_int_equal(seteuid(0), 0);
  assert_string_equal(op->failure.kind, "network");
  assert_string_equal(op->failure.code, "EACCES");
  assert_false(op->failure.retryable);
  op_release(op);

  char path[200], away[210];
  snprintf(path, sizeof path, "%s", fake_path(fake));
  snprintf(away, sizeof away, "%s.away", path);
  assert_int_equal(rename(path, away), 0);
  fake_stop(fake); /* leaves the renamed socket, with nobody behind it */
  o.unix_socket = away;
  f = http_expect_failure(&o, "network");
  assert_string_equal(f.code, "ECONNREFUSED");
  unlink(away);
  *strrchr(away, '/') = 0;
  rmdir(away);
}

static void tells_nothing_secret(void **state) {
  http_options_t o = {
      .url = "http://user:hunter2@server/ws?secret=hunter2&b=2&token=hunter2#x",
      .unix_socket = "/tmp/pgafrun-no-such-socket",
      .timeout = 1,
      .connect_timeout = 1,
  };
  failure_t f = http_expect_failure(&o, "network");
  assert_null(strstr(f.message, "hunter2"));
  assert_null(strstr(f.message, "user"));
  assert_non_null(strstr(f.message, "GET http://server/ws?secret=***&b=2&token=***#x"));
}

static void a_malformed_url_is_a_failure_of_data(void **state) {
  http_options_t o = {.url = "http://[::1/", .timeout = 1, .connect_timeout = 1, .max_bytes = 1};
  failure_t f = http_expect_failure(&o, "data");
  assert_false(f.retryable);
}

/* --- giving up --- */

static void count_until_eof(peer_t *peer, int number, void *arg) {
  peer_request(peer);
  peer_stall(peer);
  __atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
}

static void cancel_closes_the_connection_at_once(void **state) {
  int closed = 0;
  fake_t *fake = fake_unix(count_until_eof, &closed);
  http_options_t o = http_get(fake);
  op_t *op = http_start(&client, &o);
  while (fake_accepted(fake) == 0) loop_run_for(&client, 5);
  loop_run_for(&client, 20);
  op_release(op); /* also frees it: the leak checker watches */
  for (int i = 0; i < 200 && !__atomic_load_n(&closed, __ATOMIC_SEQ_CST); i++) usleep(10000);
  assert_int_equal(__atomic_load_n(&closed, __ATOMIC_SEQ_CST), 1);
  fake_stop(fake);
}

static void cancel_before_the_first_turn_of_the_loop(void **state) {
  fake_t *fake = fake_unix(say, OK_EMPTY);
  http_options_t o = http_get(fake);
  op_release(http_start(&client, &o));
  http_expect(&o, 200, "");
  fake_stop(fake);
}

static void the_runtimes_end_fails_what_is_under_way(void **state) {
  fake_t *fake = fake_unix(stall, "");
  http_options_t o = http_get(fake);
  op_t *op = http_start(&client, &o);
  loop_run_for(&client, 20);
  http_free(&client);
  assert_true(op_is_done(op));
  assert_string_equal(op->failure.kind, "closed");
  op_release(op);
  fake_stop(fake);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_begin, client_end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(gives_status_headers_and_body),
      TEST(keeps_repeated_headers_apart_and_forgets_interim_answers),
      TEST(reads_an_answer_that_comes_byte_by_byte),
      TEST(reads_chunks),
      TEST(a_status_of_refusal_is_an_answer),
      TEST(does_not_follow_a_redirect),
      TEST(head_is_not_measured_by_the_length_it_reports),
      TEST(sends_method_headers_and_body_as_given),
      TEST(an_empty_post_says_its_length_and_makes_up_no_type),
      TEST(a_body_may_hold_any_bytes),
      TEST(a_request_inherits_nothing_from_the_one_before),
      TEST(keeps_a_connection),
      TEST(many_at_a_time),
      TEST(a_read_is_sent_again_when_a_kept_connection_dies),
      TEST(a_mutation_is_never_sent_again),
      TEST(a_mutation_over_a_unix_socket_uses_no_old_connection),
      TEST(a_reset_in_the_body_is_a_network_failure),
      TEST(a_short_body_is_a_network_failure),
      TEST(no_answer_to_a_mutation_leaves_the_outcome_unknown),
      TEST(garbage_is_a_protocol_failure),
      TEST(a_stall_is_a_timeout),
      TEST(a_body_beyond_the_limit_is_refused),
      TEST(a_length_beyond_the_limit_is_refused_at_once),
      TEST(an_endless_header_is_refused),
      TEST(names_the_reason_why_a_socket_cannot_be_opened),
      TEST(tells_nothing_secret),
      TEST(a_malformed_url_is_a_failure_of_data),
      TEST(cancel_closes_the_connection_at_once),
      TEST(cancel_before_the_first_turn_of_the_loop),
      TEST(the_runtimes_end_fails_what_is_under_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
