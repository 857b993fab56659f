/* http_tls_test.c - whom a connection trusts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/http_client.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

typedef struct identity {
  char *cert, *key;
} identity_t;

static identity_t server, other;

static int make_identities(void **state) {
  make_certificate("localhost", &server.cert, &server.key);
  make_certificate("localhost", &other.cert, &other.key);
  return 0;
}

static int free_identities(void **state) {
  free(server.cert);
  free(server.key);
  free(other.cert);
  free(other.key);
  return 0;
}

static void an_unknown_certificate_is_refused(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, NULL, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https");
  failure_t f = http_expect_failure(&o, "tls");
  assert_false(f.retryable);
  assert_false(f.outcome_unknown);
  fake_stop(fake);
}

static void a_pinned_certificate_is_accepted_whatever_the_host_is_called(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, NULL, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https");
  o.tls.pinned = server.cert;
  http_expect(&o, 200, "");
  fake_stop(fake);
}

static void another_certificate_than_the_pinned_is_refused(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, NULL, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https");
  o.tls.pinned = other.cert;
  failure_t f = http_expect_failure(&o, "tls");
  assert_non_null(strstr(f.message, "not the pinned one"));
  fake_stop(fake);
}

/* A connection that one request may use is not open to another that trusts somebody else. */
static void a_kept_connection_is_not_lent_to_other_trust(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, NULL, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https");
  o.tls.pinned = server.cert;
  http_expect(&o, 200, "");
  o.tls.pinned = NULL;
  http_expect_failure(&o, "tls");
  o.tls.pinned = other.cert;
  http_expect_failure(&o, "tls");
  fake_stop(fake);
}

static void a_trusted_ca_does_not_excuse_another_host_name(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, NULL, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https"); /* 127.0.0.1, not localhost */
  o.tls.ca = server.cert;
  http_expect_failure(&o, "tls");
  char url[64];
  snprintf(url, sizeof url, "https://localhost:%d/", fake_port(fake));
  o.url = url;
  http_expect(&o, 200, "");
  fake_stop(fake);
}

static void a_client_certificate_is_given_when_there_is_one(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, other.cert, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https");
  o.tls.pinned = server.cert;
  failure_t f = http_expect_failure(&o, "tls");
  assert_false(f.retryable);
  o.tls.cert = other.cert;
  o.tls.key = server.key; /* not this certificate's */
  http_expect_failure(&o, "tls");
  o.tls.key = other.key;
  http_expect(&o, 200, "");
  /* neither a kept connection nor a resumed session lends this identity to others */
  o.tls.cert = o.tls.key = NULL;
  http_expect_failure(&o, "tls");
  fake_stop(fake);
}

static void an_encrypted_key_is_refused_before_anything_is_sent(void **state) {
  fake_t *fake = fake_tls(server.cert, server.key, other.cert, say, OK_EMPTY);
  http_options_t o = http_get_tcp(fake, "https");
  char *key = encrypt_key(other.key);
  o.tls.pinned = server.cert;
  o.tls.cert = other.cert;
  o.tls.key = key;
  op_t *op = http_start(&client, &o);
  assert_true(op_is_done(op));
  assert_string_equal(op->failure.kind, "tls");
  assert_string_equal(op->failure.code, "encrypted key");
  op_release(op);
  o.tls.pinned = "no certificate";
  op = http_start(&client, &o);
  assert_string_equal(op->failure.code, "bad certificate");
  op_release(op);
  assert_int_equal(fake_accepted(fake), 0);
  free(key);
  fake_stop(fake);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_begin, client_end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_unknown_certificate_is_refused),
      TEST(a_pinned_certificate_is_accepted_whatever_the_host_is_called),
      TEST(another_certificate_than_the_pinned_is_refused),
      TEST(a_kept_connection_is_not_lent_to_other_trust),
      TEST(a_trusted_ca_does_not_excuse_another_host_name),
      TEST(a_client_certificate_is_given_when_there_is_one),
      TEST(an_encrypted_key_is_refused_before_anything_is_sent),
  };
  return cmocka_run_group_tests(tests, make_identities, free_identities);
}
