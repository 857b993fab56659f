/* Queries, pipelines and notifications with servers that do not behave. */
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <openssl/pem.h>

#include "runtime/pg.h"
#include "support/fake.h"
#include "support/loop.h"
#include "support/pg_peer.h"

static runtime_t rt;
static fake_t *fake;

static int set_up(void **state) {
  loop_begin(&rt);
  return 0;
}

static int tear_down(void **state) {
  loop_end(&rt);
  return 0;
}

static pg_connection_t *connect_to(fake_script_t script, void *arg) {
  char text[100];
  failure_t f = {0};
  fake = fake_tcp(script, arg);
  snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=u", fake_port(fake));
  pg_conninfo_t *info = pg_conninfo_new();
  assert_true(pg_conninfo_parse(info, text, &f) && pg_conninfo_plan(info, &f));
  op_t *op = pg_connect_start(&rt.loop, info);
  loop_wait(&rt, op);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  pg_connection_t *c = pg_connect_take(op);
  op_release(op);
  return c;
}

static void part(pg_connection_t *c) {
  pg_connection_free(c);
  fake_stop(fake);
}

static const pg_statement_t select_one = {"select 1", 0, NULL};

static op_t *ask(pg_connection_t *c, bool mutates) {
  op_t *op = pg_query_start(c, PG_QUERY_ONE, &select_one, 1, mutates);
  loop_wait(&rt, op);
  assert_false(failure_is_set(&op->failure));
  return op;
}

static op_t *ask_many(pg_connection_t *c, pg_query_mode_t mode, size_t n) {
  pg_statement_t *statements = calloc(n, sizeof *statements);
  for (size_t i = 0; i < n; i++) statements[i] = select_one;
  op_t *op = pg_query_start(c, mode, statements, n, true);
  free(statements);
  loop_wait(&rt, op);
  return op;
}

static void assert_value(const op_t *op, size_t i, const char *value) {
  failure_t f = {0};
  if (pg_query_failure(op, i, &f)) fail_msg("%zu: %s", i, f.message);
  assert_string_equal(PQgetvalue(pg_query_result(op, i), 0, 0), value);
}

static failure_t assert_failed(const op_t *op, size_t i, const char *kind, const char *code, bool unknown) {
  failure_t f = {0};
  assert_true(pg_query_failure(op, i, &f));
  if (strcmp(f.kind, kind) != 0 || strcmp(f.code, code) != 0 || f.outcome_unknown != unknown)
    fail_msg("%zu: %s %s unknown=%d: %s", i, f.kind, f.code, f.outcome_unknown, f.message);
  return f;
}

/* --- one query --- */

/* What comes between the query and the end of the connection. */
typedef struct act {
  pg_script_t say;
  bool slowly, reset, stay;
} act_t;

static void perform(peer_t *peer, int number, void *arg) {
  const act_t *act = arg;
  if (!pg_peer_welcome(peer) || !pg_peer_read_until(peer, 'S')) return;
  if (act->slowly)
    peer_say_slowly(peer, act->say.bytes, act->say.size);
  else
    pg_send(peer, &act->say);
  if (act->reset) peer_reset(peer);
  if (act->stay) peer_stall(peer);
}

static void an_answer_one_byte_at_a_time(void **state) {
  act_t act = {.slowly = true, .stay = true};
  pg_say_one(&act.say, "42");
  pg_say_ready(&act.say);
  pg_connection_t *c = connect_to(perform, &act);
  op_t *op = ask(c, true);
  assert_value(op, 0, "42");
  assert_false(pg_connection_is_busy(c));
  op_release(op);
  part(c);
}

static void an_error_is_a_definite_no_and_leaves_the_connection_open(void **state) {
  act_t act = {.stay = true};
  pg_say_notice(&act.say, "01000", "careful");
  pg_say_error(&act.say, "ERROR", "40P01", "deadlock detected");
  pg_say_ready(&act.say);
  pg_connection_t *c = connect_to(perform, &act);
  op_t *op = ask(c, true);
  failure_t f = assert_failed(op, 0, "postgres", "40P01", false);
  assert_true(f.retryable);
  assert_string_equal(PQresultErrorField(pg_query_result(op, 0), PG_DIAG_MESSAGE_HINT), "the hint");
  assert_string_equal(pg_query_notices(op)->message, "careful");
  assert_string_equal(pg_query_notices(op)->code, "01000");
  assert_null(pg_query_notices(op)->next);
  assert_true(pg_connection_is_open(c));
  op_release(op);
  part(c);
}

/* A commit can fail after the statement was answered. */
static void an_error_after_the_answer(void **state) {
  act_t act = {.stay = true};
  pg_say_one(&act.say, "1");
  pg_say_error(&act.say, "ERROR", "23505", "duplicate key");
  pg_say_ready(&act.say);
  pg_connection_t *c = connect_to(perform, &act);
  op_t *op = ask(c, true);
  assert_failed(op, 0, "postgres", "23505", false);
  op_release(op);
  part(c);
}

static void assert_broken(act_t *act, const char *kind, const char *code) {
  for (int mutates = 0; mutates < 2; mutates++) {
    pg_connection_t *c = connect_to(perform, act);
    op_t *op = ask(c, mutates);
    assert_failed(op, 0, kind, code, mutates);
    assert_false(pg_connection_is_open(c));
    op_release(op);
    part(c);
  }
}

static void a_connection_that_breaks_leaves_the_outcome_unknown(void **state) {
  act_t act = {.say.size = 0};
  assert_broken(&act, "network", "");
  pg_say_one(&act.say, "1");
  assert_broken(&act, "network", ""); /* no ReadyForQuery: it may not have been committed */
  act.say.size -= 20;
  assert_broken(&act, "network", ""); /* in the middle of a message */
  act.reset = true;
  assert_broken(&act, "network", "");
}

static void a_session_that_the_server_ends(void **state) {
  act_t act = {.say.size = 0};
  pg_say_error(&act.say, "FATAL", "57P01", "terminating connection due to administrator command");
  assert_broken(&act, "postgres", "57P01");
}

static void garbage_for_an_answer(void **state) {
  act_t act = {.stay = true};
  memset(act.say.bytes, 'x', sizeof act.say.bytes);
  act.say.size = sizeof act.say.bytes;
  assert_broken(&act, "protocol", "");
}

static void copy_is_refused(void **state) {
  act_t act = {.stay = true};
  pg_say(&act.say, '1', "", 0);
  pg_say(&act.say, '2', "", 0);
  pg_say(&act.say, 'H', "\0\0\0", 3);
  assert_broken(&act, "protocol", "copy");
}

/* --- TLS --- */

#define RECORD 16384

/* A record of TLS can hold 16 kB. With the beginning of a message in its buffer libpq reads less than that at
 * once; the rest is then in OpenSSL, and the socket, which has nothing more, would never become readable. (A
 * libpq that drains OpenSSL by itself passes without our help.) */
static void answer_in_large_records(peer_t *peer, int number, void *arg) {
  static char body[5000];
  if (pg_peer_first(peer) != PG_PEER_SSL || !peer_say(peer, "S")) return;
  peer->ssl = SSL_new(arg);
  SSL_set_fd(peer->ssl, peer->fd);
  if (SSL_accept(peer->ssl) != 1 || !pg_peer_welcome(peer)) return;
  for (uint32_t size = 3600; pg_peer_read_until(peer, 'S'); size += 29) {
    pg_script_t s = {.size = 0};
    uint32_t length = htonl(size);
    memset(body, 'x', sizeof body);
    memcpy(body, "\0\1", 2);
    memcpy(body + 2, &length, 4);
    pg_say(&s, '1', "", 0);
    pg_say(&s, '2', "", 0);
    pg_say_columns(&s);
    for (int row = 0; row < 5; row++) pg_say(&s, 'D', body, 6 + size);
    pg_say_complete(&s, "SELECT 5");
    pg_say_ready(&s);
    if (!peer_write(peer, s.bytes, s.size - RECORD)) return;
    if (!peer_write(peer, s.bytes + s.size - RECORD, RECORD)) return;
  }
}

static SSL_CTX *make_tls(void) {
  char *cert, *key;
  make_certificate("localhost", &cert, &key);
  SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
  BIO *bio = BIO_new_mem_buf(cert, -1);
  X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
  BIO_free(bio);
  bio = BIO_new_mem_buf(key, -1);
  EVP_PKEY *k = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
  BIO_free(bio);
  assert_true(SSL_CTX_use_certificate(tls, x) == 1 && SSL_CTX_use_PrivateKey(tls, k) == 1);
  X509_free(x);
  EVP_PKEY_free(k);
  free(cert);
  free(key);
  return tls;
}

static void large_tls_records_do_not_stall(void **state) {
  signal(SIGPIPE, SIG_IGN);
  SSL_CTX *tls = make_tls();
  pg_connection_t *c = connect_to(answer_in_large_records, tls);
  assert_true(pg_connection_is_encrypted(c));
  for (int size = 3600; size < 4200; size += 29) {
    op_t *op = ask(c, true);
    assert_int_equal(PQntuples(pg_query_result(op, 0)), 5);
    assert_int_equal(PQgetlength(pg_query_result(op, 0), 4, 0), size);
    op_release(op);
  }
  part(c);
  SSL_CTX_free(tls);
}

/* --- before and beside queries --- */

typedef struct goodbye {
  sem_t go, gone; /* the connection is made; the server has said good-bye and hung up */
} goodbye_t;

static void say_goodbye(peer_t *peer, int number, void *arg) {
  goodbye_t *goodbye = arg;
  pg_script_t s = {.size = 0};
  pg_say_error(&s, "FATAL", "57P01", "terminating connection due to administrator command");
  if (pg_peer_welcome(peer) && sem_wait(&goodbye->go) == 0 && pg_send(peer, &s)) shutdown(peer->fd, SHUT_WR);
  sem_post(&goodbye->gone);
  peer_stall(peer);
}

/* Without running the loop. */
static pg_connection_t *connect_to_goodbye(goodbye_t *goodbye) {
  sem_init(&goodbye->go, 0, 0);
  sem_init(&goodbye->gone, 0, 0);
  pg_connection_t *c = connect_to(say_goodbye, goodbye);
  sem_post(&goodbye->go);
  sem_wait(&goodbye->gone);
  return c;
}

static void a_connection_that_broke_before_the_query_is_known(void **state) {
  goodbye_t goodbye;
  pg_connection_t *c = connect_to_goodbye(&goodbye);
  op_t *op = ask(c, true);
  assert_failed(op, 0, "closed", "57P01", false);
  op_release(op);
  part(c);
}

static void an_idle_connection_that_breaks_is_closed(void **state) {
  goodbye_t goodbye;
  pg_connection_t *c = connect_to_goodbye(&goodbye);
  while (pg_connection_is_open(c)) uv_run(&rt.loop, UV_RUN_ONCE);
  assert_string_equal(pg_connection_why_closed(c)->kind, "closed");
  assert_string_equal(pg_connection_why_closed(c)->code, "57P01");
  assert_non_null(strstr(pg_connection_why_closed(c)->message, "administrator command"));
  part(c);
}

typedef struct overheard {
  bool cancel_came;
  pthread_mutex_t lock;
} overheard_t;

static void take_cancel(peer_t *peer, int number, void *arg) {
  overheard_t *overheard = arg;
  if (number == 0) {
    if (pg_peer_welcome(peer)) peer_stall(peer);
    return;
  }
  bool right = pg_peer_first(peer) == PG_PEER_CANCEL && memcmp(peer->text + 4, "\0\0\0\115\1\2\3\4", 8) == 0;
  pthread_mutex_lock(&overheard->lock);
  overheard->cancel_came = right;
  pthread_mutex_unlock(&overheard->lock);
}

static void a_query_that_is_given_up_is_cancelled_at_the_server(void **state) {
  overheard_t overheard = {.lock = PTHREAD_MUTEX_INITIALIZER};
  pg_connection_t *c = connect_to(take_cancel, &overheard);
  op_t *op = pg_query_start(c, PG_QUERY_ONE, &select_one, 1, true);
  loop_run_for(&rt, 5);
  assert_true(pg_connection_is_busy(c));
  op_release(op);
  assert_false(pg_connection_is_open(c));
  uv_run(&rt.loop, UV_RUN_DEFAULT); /* until the request has been made */
  part(c);
  assert_true(overheard.cancel_came);
}

static void take_no_cancel(peer_t *peer, int number, void *arg) {
  if (number > 0 || pg_peer_welcome(peer)) peer_stall(peer);
}

/* PQcancel waits until the server closes: one that never does must not keep the program from ending. */
static void a_cancel_request_that_is_not_answered_is_left_alone(void **state) {
  pg_connection_t *c = connect_to(take_no_cancel, NULL);
  op_release(pg_query_start(c, PG_QUERY_ONE, &select_one, 1, true));
  uv_run(&rt.loop, UV_RUN_DEFAULT); /* ends, while the request still waits */
  part(c);
}

static void closing_completes_what_is_pending(void **state) {
  overheard_t overheard = {.lock = PTHREAD_MUTEX_INITIALIZER};
  pg_connection_t *c = connect_to(take_cancel, &overheard);
  op_t *query = pg_query_start(c, PG_QUERY_ONE, &select_one, 1, true), *listen = pg_listen_start(c);
  pg_connection_close(c);
  loop_wait(&rt, query);
  loop_wait(&rt, listen);
  assert_failed(query, 0, "closed", "", true);
  assert_string_equal(listen->failure.kind, "closed");
  op_release(query);
  op_release(listen);
  part(c);
}

/* --- notifications --- */

static void notify(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  pg_say_notification(&s, "state", "one");
  if (!pg_peer_welcome(peer) || !pg_send(peer, &s)) return;
  if (!pg_peer_read_until(peer, 'S')) return;
  s.size = 0;
  pg_say_one(&s, "1");
  pg_say_notification(&s, "state", "two");
  pg_say_notification(&s, "state", "three");
  pg_say_ready(&s);
  pg_send(peer, &s);
}

static void assert_next(pg_connection_t *c, const char *payload) {
  op_t *op = pg_listen_start(c);
  loop_wait(&rt, op);
  assert_false(failure_is_set(&op->failure));
  op_release(op);
  const pg_notification_t *n = pg_notification_first(c);
  assert_non_null(n);
  assert_string_equal(n->channel, "state");
  assert_string_equal(n->payload, payload);
  assert_int_equal(n->pid, 99);
  assert_true(n->at > 0 && n->at <= uv_hrtime());
  pg_notification_drop(c);
}

static void notifications_come_when_idle_and_beside_a_query(void **state) {
  pg_connection_t *c = connect_to(notify, NULL);
  assert_next(c, "one");
  op_t *listen = pg_listen_start(c), *query = pg_query_start(c, PG_QUERY_ONE, &select_one, 1, true);
  assert_true(pg_connection_has_listener(c));
  loop_wait(&rt, query);
  loop_wait(&rt, listen);
  assert_value(query, 0, "1");
  op_release(query);
  op_release(listen);
  assert_next(c, "two");
  assert_next(c, "three");
  op_t *broken = pg_listen_start(c); /* the server has hung up since */
  loop_wait(&rt, broken);
  assert_string_equal(broken->failure.kind, "network");
  op_release(broken);
  part(c);
}

static void giving_up_waiting_leaves_the_connection_open(void **state) {
  overheard_t overheard = {.lock = PTHREAD_MUTEX_INITIALIZER};
  pg_connection_t *c = connect_to(take_cancel, &overheard);
  op_t *op = pg_listen_start(c);
  loop_run_for(&rt, 5);
  op_release(op);
  assert_true(pg_connection_is_open(c));
  assert_false(pg_connection_has_listener(c));
  part(c);
}

static void flood(peer_t *peer, int number, void *arg) {
  if (!pg_peer_welcome(peer)) return;
  for (int i = 0; i < 70000; i += 100) {
    pg_script_t s = {.size = 0};
    for (int j = 0; j < 100; j++) pg_say_notification(&s, "state", "x");
    if (!pg_send(peer, &s)) return;
  }
  peer_stall(peer);
}

static void notifications_that_nobody_reads_end_the_connection(void **state) {
  pg_connection_t *c = connect_to(flood, NULL);
  for (int i = 0; i < 500 && pg_connection_is_open(c); i++) loop_run_for(&rt, 10);
  assert_false(pg_connection_is_open(c));
  assert_string_equal(pg_connection_why_closed(c)->code, "notifications");
  assert_non_null(pg_notification_first(c)); /* what came before is still there */
  part(c);
}

/* --- pipelines --- */

/* Answers the statements of a pipeline one by one: what the letters of arg say.
 *   v  a value and the end        e  an error and the end       l  a value, then an error, and the end
 *   V  a value without the end    E  an error without the end   s  the end     X  closes */
static void play(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  if (!pg_peer_welcome(peer) || !pg_peer_read_until(peer, 'S')) return;
  for (const char *p = arg; *p && *p != 'X'; p++) {
    if (strchr("vlV", *p)) pg_say_one(&s, "7");
    if (strchr("elE", *p)) pg_say_error(&s, "ERROR", "22012", "division by zero");
    if (strchr("vels", *p)) pg_say_ready(&s);
  }
  pg_send(peer, &s);
  if (strchr(arg, 'X')) shutdown(peer->fd, SHUT_WR); /* closing with bytes unread would be a reset */
  peer_stall(peer);
}

static void an_error_in_a_pipeline_leaves_the_others(void **state) {
  pg_connection_t *c = connect_to(play, "vevlv");
  op_t *op = ask_many(c, PG_QUERY_PIPELINE, 5);
  assert_value(op, 0, "7");
  assert_failed(op, 1, "postgres", "22012", false);
  assert_value(op, 2, "7");
  assert_failed(op, 3, "postgres", "22012", false); /* its commit failed */
  assert_value(op, 4, "7");
  assert_true(pg_connection_is_open(c));
  assert_false(pg_connection_is_busy(c));
  op_release(op);
  part(c);
}

static void an_atomic_pipeline_stops_at_its_error(void **state) {
  pg_connection_t *c = connect_to(play, "VEs");
  op_t *op = ask_many(c, PG_QUERY_ATOMIC, 4);
  assert_value(op, 0, "7");
  assert_failed(op, 1, "postgres", "22012", false);
  assert_failed(op, 2, "postgres", "25P02", false);
  assert_failed(op, 3, "postgres", "25P02", false);
  assert_true(pg_connection_is_open(c));
  op_release(op);
  part(c);
}

static void a_pipeline_that_breaks_off(void **state) {
  pg_connection_t *c = connect_to(play, "veVX");
  op_t *op = ask_many(c, PG_QUERY_PIPELINE, 4);
  assert_value(op, 0, "7");
  assert_failed(op, 1, "postgres", "22012", false);
  assert_failed(op, 2, "network", "", true); /* answered, but its transaction's end was not */
  assert_failed(op, 3, "network", "", true);
  assert_false(pg_connection_is_open(c));
  op_release(op);
  part(c);

  c = connect_to(play, "VVX");
  op = ask_many(c, PG_QUERY_ATOMIC, 2);
  assert_failed(op, 0, "network", "", true);
  assert_failed(op, 1, "network", "", true);
  op_release(op);
  part(c);
}

static void a_pipeline_with_too_few_answers(void **state) {
  pg_connection_t *c = connect_to(play, "vssss");
  op_t *op = ask_many(c, PG_QUERY_PIPELINE, 3);
  assert_value(op, 0, "7");
  assert_failed(op, 1, "protocol", "", true);
  assert_false(pg_connection_is_open(c));
  op_release(op);
  part(c);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(an_answer_one_byte_at_a_time),
      TEST(an_error_is_a_definite_no_and_leaves_the_connection_open),
      TEST(an_error_after_the_answer),
      TEST(a_connection_that_breaks_leaves_the_outcome_unknown),
      TEST(a_session_that_the_server_ends),
      TEST(garbage_for_an_answer),
      TEST(copy_is_refused),
      TEST(large_tls_records_do_not_stall),
      TEST(a_connection_that_broke_before_the_query_is_known),
      TEST(an_idle_connection_that_breaks_is_closed),
      TEST(a_query_that_is_given_up_is_cancelled_at_the_server),
      TEST(a_cancel_request_that_is_not_answered_is_left_alone),
      TEST(closing_completes_what_is_pending),
      TEST(notifications_come_when_idle_and_beside_a_query),
      TEST(giving_up_waiting_leaves_the_connection_open),
      TEST(notifications_that_nobody_reads_end_the_connection),
      TEST(an_error_in_a_pipeline_leaves_the_others),
      TEST(an_atomic_pipeline_stops_at_its_error),
      TEST(a_pipeline_that_breaks_off),
      TEST(a_pipeline_with_too_few_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
