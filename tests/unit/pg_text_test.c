/* SQL text that is made without a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/pg_text.h"

static const char *quoted(size_t (*quote)(char *, const char *, size_t), const char *text) {
  static char out[100];
  out[quote(out, text, strlen(text))] = 0;
  return out;
}

static void identifiers(void **state) {
  assert_string_equal(quoted(pg_quote_identifier, "Table"), "\"Table\"");
  assert_string_equal(quoted(pg_quote_identifier, "a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
  assert_string_equal(quoted(pg_quote_identifier, ""), "\"\"");
  assert_string_equal(quoted(pg_quote_identifier, "a\\b"), "\"a\\b\"");
}

static void literals(void **state) {
  assert_string_equal(quoted(pg_quote_literal, "it's"), "'it''s'");
  assert_string_equal(quoted(pg_quote_literal, "a\\'b"), " E'a\\\\''b'");
  assert_string_equal(quoted(pg_quote_literal, "\xc3\xa9"), "'\xc3\xa9'");
}

static void verifiers_have_a_salt_of_their_own(void **state) {
  char one[PG_SCRAM_VERIFIER_SIZE], two[PG_SCRAM_VERIFIER_SIZE];
  failure_t f = {0};
  assert_true(pg_scram_verifier(one, "secret", 6, &f));
  assert_true(pg_scram_verifier(two, "secret", 6, &f));
  assert_int_equal(strncmp(one, "SCRAM-SHA-256$4096:", 19), 0);
  assert_int_equal(strlen(one), 19 + 24 + 1 + 44 + 1 + 44);
  assert_string_not_equal(one, two);
}

static void passwords_that_would_need_saslprep_are_refused(void **state) {
  char out[PG_SCRAM_VERIFIER_SIZE];
  const char *const passwords[] = {"", "caf\xc3\xa9", "tab\t"};
  for (size_t i = 0; i < sizeof passwords / sizeof *passwords; i++) {
    failure_t f = {0};
    assert_false(pg_scram_verifier(out, passwords[i], strlen(passwords[i]), &f));
    assert_string_equal(f.kind, "data");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(identifiers),
      cmocka_unit_test(literals),
      cmocka_unit_test(verifiers_have_a_salt_of_their_own),
      cmocka_unit_test(passwords_that_would_need_saslprep_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
