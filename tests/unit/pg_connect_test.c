/* Connecting to servers that do not behave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/pg.h"
#include "support/fake.h"
#include "support/loop.h"
#include "support/pg_peer.h"

static runtime_t rt;

static int set_up(void **state) {
  loop_begin(&rt);
  return 0;
}

static int tear_down(void **state) {
  loop_end(&rt);
  return 0;
}

static op_t *start(const char *conninfo) {
  failure_t f = {0};
  pg_conninfo_t *info = pg_conninfo_new();
  if (!pg_conninfo_parse(info, conninfo, &f) || !pg_conninfo_plan(info, &f)) fail_msg("%s", f.message);
  return pg_connect_start(&rt.loop, info);
}

static op_t *start_at(const fake_t *fake, const char *more) {
  char text[300];
  snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=u dbname=d %s", fake_port(fake), more);
  return start(text);
}

/* Waits, expects success. */
static pg_connection_t *finish(op_t *op) {
  loop_wait(&rt, op);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  pg_connection_t *c = pg_connect_take(op);
  assert_non_null(c);
  assert_null(pg_connect_take(op));
  op_release(op);
  return c;
}

static failure_t finish_failed(op_t *op) {
  loop_wait(&rt, op);
  failure_t f = op->failure;
  if (!failure_is_set(&f)) fail_msg("the connection was made");
  op_release(op);
  return f;
}

static void assert_fails(const char *kind, fake_script_t script, const char *more) {
  fake_t *fake = fake_tcp(script, NULL);
  failure_t f = finish_failed(start_at(fake, more));
  if (strcmp(f.kind, kind) != 0) fail_msg("kind %s, not %s: %s", f.kind, kind, f.message);
  fake_stop(fake);
}

/* --- the scripts --- */

static void welcome(peer_t *peer, int number, void *arg) {
  if (pg_peer_welcome(peer)) peer_stall(peer);
}

static void welcome_slowly(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  pg_say_welcome(&s, "off", "off");
  if (pg_peer_startup(peer) && peer_say_slowly(peer, s.bytes, s.size)) peer_stall(peer);
}

static void stall(peer_t *peer, int number, void *arg) { peer_stall(peer); }

static void stall_later(peer_t *peer, int number, void *arg) {
  if (pg_peer_startup(peer)) peer_stall(peer);
}

static void hang_up(peer_t *peer, int number, void *arg) { pg_peer_first(peer); }

static void hang_up_in_startup(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  pg_say_welcome(&s, "off", "off");
  s.size -= 20;
  if (pg_peer_startup(peer)) pg_send(peer, &s);
}

static void reset(peer_t *peer, int number, void *arg) {
  if (pg_peer_startup(peer)) peer_reset(peer);
}

static void garbage(peer_t *peer, int number, void *arg) {
  if (pg_peer_startup(peer)) peer_say(peer, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  peer_stall(peer);
}

static void starting_up(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  pg_say_error(&s, "FATAL", "57P03", "the database system is starting up");
  if (pg_peer_startup(peer)) pg_send(peer, &s);
}

static void wrong_password(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  pg_say_error(&s, "FATAL", "28P01", "password authentication failed for user \"u\"");
  if (pg_peer_startup(peer)) pg_send(peer, &s);
}

static void ask_password(peer_t *peer, int number, void *arg) {
  pg_script_t s = {.size = 0};
  pg_say(&s, 'R', "\0\0\0\3", 4);
  if (!pg_peer_startup(peer) || !pg_send(peer, &s) || pg_peer_read(peer) != 'p') return;
  snprintf(arg, 100, "%.99s", peer->text);
  s.size = 0;
  pg_say_welcome(&s, "off", "off");
  pg_send(peer, &s);
  peer_stall(peer);
}

static void alert(peer_t *peer, int number, void *arg) {
  static const char yes[] = "S", handshake_failure[] = "\x15\x03\x01\0\2\2\x28";
  if (pg_peer_first(peer) != PG_PEER_SSL || !peer_say(peer, yes)) return;
  if (peer_read(peer, peer->text, 100)) peer_write(peer, handshake_failure, 7);
  peer_stall(peer);
}

/* Breaks TLS off the first time, and is fine without: sslmode=prefer tries again on a new socket, which
 * has often the same number. */
static void no_tls_after_all(peer_t *peer, int number, void *arg) {
  if (number == 0)
    alert(peer, number, arg);
  else
    welcome(peer, number, arg);
}

typedef struct role {
  const char *standby, *read_only;
  bool tells; /* without being asked */
} role_t;

static void answer_role(peer_t *peer, const role_t *role) {
  pg_script_t s = {.size = 0};
  /* two boolean columns a and b */
  static const char columns[] = "\0\2a\0\0\0\0\0\0\0\0\0\0\20\0\1\377\377\377\377\0\0"
                                "b\0\0\0\0\0\0\0\0\0\0\20\0\1\377\377\377\377\0\0";
  char row[] = "\0\2\0\0\0\1?\0\0\0\1?";
  row[6] = strcmp(role->standby, "on") == 0 ? 't' : 'f';
  row[11] = strcmp(role->read_only, "on") == 0 ? 't' : 'f';
  if (!pg_peer_read_until(peer, 'Q')) return;
  pg_say(&s, 'T', columns, sizeof columns - 1);
  pg_say(&s, 'D', row, sizeof row - 1);
  pg_say_complete(&s, "SELECT 1");
  pg_say_ready(&s);
  peer_say_slowly(peer, s.bytes, s.size);
}

static void play_role(peer_t *peer, int number, void *arg) {
  const role_t *role = arg;
  pg_script_t s = {.size = 0};
  pg_say_welcome(&s, role->tells ? role->standby : NULL, role->tells ? role->read_only : NULL);
  if (!pg_peer_startup(peer) || !pg_send(peer, &s)) return;
  if (!role->tells) answer_role(peer, role);
  peer_stall(peer);
}

/* --- the tests --- */

static void a_server_that_behaves(void **state) {
  fake_t *fake = fake_tcp(welcome, NULL);
  pg_connection_t *c = finish(start_at(fake, ""));
  assert_true(pg_connection_is_open(c));
  assert_false(pg_connection_is_busy(c));
  assert_false(pg_connection_is_encrypted(c));
  assert_string_equal(pg_connection_host(c), "127.0.0.1");
  assert_int_equal(atoi(pg_connection_port(c)), fake_port(fake));
  assert_int_equal(pg_connection_pid(c), 77);
  assert_int_equal(pg_connection_server_version(c), 150004);
  pg_connection_close(c);
  pg_connection_close(c);
  assert_false(pg_connection_is_open(c));
  assert_string_equal(pg_connection_why_closed(c)->kind, "closed");
  pg_connection_free(c);
  fake_stop(fake);
}

static void one_byte_at_a_time(void **state) {
  fake_t *fake = fake_tcp(welcome_slowly, NULL);
  pg_connection_free(finish(start_at(fake, "")));
  fake_stop(fake);
}

static void a_name_is_resolved(void **state) {
  fake_t *fake = fake_tcp(welcome, NULL);
  char text[100];
  snprintf(text, sizeof text, "host=localhost port=%d user=u", fake_port(fake));
  pg_connection_t *c = finish(start(text)); /* also where localhost is ::1 first, which refuses */
  assert_string_equal(pg_connection_host(c), "localhost");
  pg_connection_free(c);
  fake_stop(fake);
}

static void a_name_that_is_none(void **state) {
  char text[200], label[71];
  memset(label, 'a', 70); /* longer than a label may be: refused without asking any server */
  label[70] = 0;
  snprintf(text, sizeof text, "host=%s user=u", label);
  failure_t f = finish_failed(start(text));
  assert_string_equal(f.kind, "network");
  assert_non_null(strstr(f.message, label));
}

static void a_port_that_refuses(void **state) {
  fake_t *fake = fake_tcp(welcome, NULL);
  char text[100];
  snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=u", fake_port(fake));
  fake_stop(fake);
  failure_t f = finish_failed(start(text));
  assert_string_equal(f.kind, "network");
  assert_string_equal(f.code, "ECONNREFUSED");
  assert_true(f.retryable);
}

static void a_socket_that_is_not_there(void **state) {
  failure_t f = finish_failed(start("host=/nowhere/at/all user=u"));
  assert_string_equal(f.kind, "network");
  assert_string_equal(f.code, "ENOENT");
  assert_non_null(strstr(f.message, "/nowhere/at/all"));
}

static void stalls_end_with_connect_timeout(void **state) {
  assert_fails("timeout", stall, "connect_timeout=0.1");
  assert_fails("timeout", stall_later, "connect_timeout=0.1");
}

static void broken_off_startups(void **state) {
  assert_fails("network", hang_up, "");
  assert_fails("network", hang_up, "sslmode=require");
  assert_fails("network", hang_up_in_startup, "");
  assert_fails("network", reset, "");
  assert_fails("protocol", garbage, "");
}

static void tls_that_is_refused(void **state) {
  assert_fails("tls", welcome, "sslmode=require");
  assert_fails("tls", alert, "sslmode=require");
}

static void tls_that_is_only_preferred(void **state) {
  fake_t *fake = fake_tcp(no_tls_after_all, NULL);
  pg_connection_t *c = finish(start_at(fake, "sslmode=prefer connect_timeout=5"));
  assert_false(pg_connection_is_encrypted(c));
  pg_connection_free(c);
  fake_stop(fake);
}

static void refusals_carry_their_sqlstate(void **state) {
  fake_t *fake = fake_tcp(starting_up, NULL);
  failure_t f = finish_failed(start_at(fake, ""));
  assert_string_equal(f.kind, "postgres");
  assert_string_equal(f.code, "57P03");
  assert_true(f.retryable);
  assert_non_null(strstr(f.message, "the database system is starting up"));
  assert_null(strstr(f.message, "detail"));
  fake_stop(fake);

  fake = fake_tcp(wrong_password, NULL);
  f = finish_failed(start_at(fake, "password=hush-hush"));
  assert_string_equal(f.code, "28P01");
  assert_false(f.retryable);
  assert_null(strstr(f.message, "hush"));
  fake_stop(fake);
}

static void passwords(void **state) {
  char got[100] = "";
  fake_t *fake = fake_tcp(ask_password, got);
  pg_connection_free(finish(start_at(fake, "password=secret")));
  assert_string_equal(got, "secret");
  failure_t f = finish_failed(start_at(fake, "passfile=/nowhere"));
  assert_string_equal(f.kind, "postgres");
  assert_string_equal(f.code, "28P01");
  fake_stop(fake);
}

static void the_next_host_is_tried_and_every_reason_told(void **state) {
  fake_t *refuses = fake_tcp(welcome, NULL), *stalls = fake_tcp(stall, NULL),
         *starts = fake_tcp(starting_up, NULL);
  fake_t *works = fake_tcp(welcome, NULL);
  char text[300];
  int dead = fake_port(refuses);
  fake_stop(refuses);
  snprintf(text, sizeof text,
           "postgres://u@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/d?connect_timeout=0.1", dead,
           fake_port(stalls), fake_port(starts), fake_port(works));
  pg_connection_t *c = finish(start(text));
  assert_int_equal(atoi(pg_connection_port(c)), fake_port(works));
  pg_connection_free(c);

  snprintf(text, sizeof text, "postgres://u@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/d?connect_timeout=0.1",
           dead, fake_port(starts), fake_port(stalls));
  failure_t f = finish_failed(start(text));
  assert_string_equal(f.kind, "postgres");
  assert_non_null(strstr(f.message, "ECONNREFUSED") ? f.message : strstr(f.message, "refused"));
  assert_non_null(strstr(f.message, "starting up"));
  assert_non_null(strstr(f.message, "within 0.1 s"));
  fake_stop(stalls);
  fake_stop(starts);
  fake_stop(works);
}

static void roles(bool tells) {
  role_t primary = {"off", "off", tells}, standby = {"on", "off", tells}, frozen = {"off", "on", tells};
  fake_t *p = fake_tcp(play_role, &primary), *s = fake_tcp(play_role, &standby),
         *f = fake_tcp(play_role, &frozen);
  const struct {
    const char *target;
    fake_t *first, *second, *winner;
  } cases[] = {
      {"any", s, p, s},
      {"read-write", s, p, p},
      {"read-write", f, p, p},
      {"primary", s, f, f},
      {"standby", p, s, s},
      {"read-only", p, f, f},
      {"prefer-standby", p, s, s},
      {"prefer-standby", p, f, p},
      {"primary", s, s, NULL},
      {"read-write", s, f, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[300];
    snprintf(text, sizeof text, "host=127.0.0.1,127.0.0.1 port=%d,%d user=u target_session_attrs=%s",
             fake_port(cases[i].first), fake_port(cases[i].second), cases[i].target);
    if (cases[i].winner) {
      pg_connection_t *c = finish(start(text));
      assert_int_equal(atoi(pg_connection_port(c)), fake_port(cases[i].winner));
      pg_connection_free(c);
    } else {
      failure_t why = finish_failed(start(text));
      assert_string_equal(why.kind, "postgres");
      assert_string_equal(why.code, "target_session_attrs");
      assert_true(why.retryable);
    }
  }
  fake_stop(p);
  fake_stop(s);
  fake_stop(f);
}

static void roles_that_are_told(void **state) { roles(true); }
static void roles_that_are_asked_for(void **state) { roles(false); }

static void cancelled_at_every_stage(void **state) {
  const fake_script_t scripts[] = {stall, stall_later, welcome_slowly, welcome};
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    fake_t *fake = fake_tcp(scripts[i], NULL);
    for (unsigned ms = 0; ms < 12; ms += 3) {
      op_t *op = start_at(fake, "");
      if (ms) loop_run_for(&rt, ms);
      op_release(op);
    }
    fake_stop(fake);
  }
  op_release(start("host=localhost user=u port=1")); /* while its name is being resolved */
}

static void conninfo_that_is_wrong(void **state) {
  const struct {
    const char *text, *says, *hides;
  } cases[] = {
      {"hots=db1", "hots", NULL},
      {"host=a,b,c port=1,2", "2 ports for 3 hosts", NULL},
      {"host=a hostaddr=1.2.3.4,1.2.3.5", "1 names in host but 2", NULL},
      {"target_session_attrs=master", "master", NULL},
      {"connect_timeout=soon", "soon", NULL},
      {"service=x", "PGSERVICE", NULL},
      {"password=open sesame", "neither", "sesame"},
      {"postgres://u:hidden@h:1/d?x", "neither", "hidden"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    failure_t f = {0};
    pg_conninfo_t *info = pg_conninfo_new();
    assert_false(pg_conninfo_parse(info, cases[i].text, &f) && pg_conninfo_plan(info, &f));
    assert_string_equal(f.kind, "data");
    if (!strstr(f.message, cases[i].says)) fail_msg("%s", f.message);
    if (cases[i].hides) assert_null(strstr(strchr(f.message, ':'), cases[i].hides));
    pg_conninfo_free(info);
  }
}

static void parameters_that_libpq_refuses(void **state) {
  const char *const texts[] = {
      "host=127.0.0.1 port=1 user=u sslmode=sometimes",
      "host=127.0.0.1 port=66000 user=u",
      "hostaddr=127.0.0.300 user=u",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    failure_t f = finish_failed(start(texts[i]));
    if (strcmp(f.kind, "data") != 0) fail_msg("kind %s: %s", f.kind, f.message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_server_that_behaves, set_up, tear_down),
      cmocka_unit_test_setup_teardown(one_byte_at_a_time, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_name_is_resolved, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_name_that_is_none, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_port_that_refuses, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_socket_that_is_not_there, set_up, tear_down),
      cmocka_unit_test_setup_teardown(stalls_end_with_connect_timeout, set_up, tear_down),
      cmocka_unit_test_setup_teardown(broken_off_startups, set_up, tear_down),
      cmocka_unit_test_setup_teardown(tls_that_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(tls_that_is_only_preferred, set_up, tear_down),
      cmocka_unit_test_setup_teardown(refusals_carry_their_sqlstate, set_up, tear_down),
      cmocka_unit_test_setup_teardown(passwords, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_next_host_is_tried_and_every_reason_told, set_up, tear_down),
      cmocka_unit_test_setup_teardown(roles_that_are_told, set_up, tear_down),
      cmocka_unit_test_setup_teardown(roles_that_are_asked_for, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cancelled_at_every_stage, set_up, tear_down),
      cmocka_unit_test(conninfo_that_is_wrong),
      cmocka_unit_test_setup_teardown(parameters_that_libpq_refuses, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
