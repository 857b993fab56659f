/* pg_text.h - SQL text that is made without a connection: quoting, and password verifiers. */
#ifndef PGAFRUN_PG_TEXT_H
#define PGAFRUN_PG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

/* Writes the quoted text, at most 2 * length + 4 bytes, and returns how many; not terminated. The text
 * must hold no NUL and is taken as UTF-8, in which the bytes of quotes and backslashes stand for nothing
 * else. */
size_t pg_quote_identifier(char *out, const char *text, size_t length);
size_t pg_quote_literal(char *out, const char *text, size_t length);

/* Room for any verifier. */
#define PG_SCRAM_VERIFIER_SIZE 160

/* The SCRAM-SHA-256 verifier (RFC 5803) of a password with a fresh salt. Only printable ASCII is taken,
 * which SASLprep leaves as it is: anything else fails with kind data. */
bool pg_scram_verifier(char out[PG_SCRAM_VERIFIER_SIZE], const char *password, size_t length, failure_t *f);

#endif
