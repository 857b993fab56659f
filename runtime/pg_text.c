#include "pg_text.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define SCRAM_ITERATIONS 4096 /* PostgreSQL's default */
#define SCRAM_SALT 16

static size_t quote(char *out, const char *text, size_t length, char mark, bool escapes) {
  char *p = out;
  *p++ = mark;
  for (size_t i = 0; i < length; i++) {
    if (text[i] == mark || (escapes && text[i] == '\\')) *p++ = text[i];
    *p++ = text[i];
  }
  *p++ = mark;
  return (size_t)(p - out);
}

size_t pg_quote_identifier(char *out, const char *text, size_t length) {
  return quote(out, text, length, '"', false);
}

size_t pg_quote_literal(char *out, const char *text, size_t length) {
  if (!memchr(text, '\\', length)) return quote(out, text, length, '\'', false);
  /* right whatever standard_conforming_strings is; the space keeps it apart from a word before it */
  out[0] = ' ';
  out[1] = 'E';
  return 2 + quote(out + 2, text, length, '\'', true);
}

static bool is_printable_ascii(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (text[i] < 0x20 || text[i] > 0x7e) return false;
  return true;
}

static bool hmac(unsigned char out[SHA256_DIGEST_LENGTH], const unsigned char *key, const char *text) {
  unsigned int size;
  return HMAC(EVP_sha256(), key, SHA256_DIGEST_LENGTH, (const unsigned char *)text, strlen(text), out,
              &size) != NULL;
}

bool pg_scram_verifier(char out[PG_SCRAM_VERIFIER_SIZE], const char *password, size_t length, failure_t *f) {
  unsigned char salt[SCRAM_SALT], salted[SHA256_DIGEST_LENGTH], client[SHA256_DIGEST_LENGTH];
  unsigned char stored[SHA256_DIGEST_LENGTH], server[SHA256_DIGEST_LENGTH];
  unsigned char salt64[32], stored64[48], server64[48];
  if (length == 0 || length > 1024 || !is_printable_ascii(password, length)) {
    failure_set(f, "data", NULL,
                "a password must be 1 to 1024 printable ASCII characters to make its verifier here: other "
                "ones would need SASLprep");
    return false;
  }
  bool made = RAND_bytes(salt, sizeof salt) == 1 &&
              PKCS5_PBKDF2_HMAC(password, (int)length, salt, sizeof salt, SCRAM_ITERATIONS, EVP_sha256(),
                                sizeof salted, salted) == 1 &&
              hmac(client, salted, "Client Key") && hmac(server, salted, "Server Key") &&
              SHA256(client, sizeof client, stored);
  OPENSSL_cleanse(salted, sizeof salted);
  OPENSSL_cleanse(client, sizeof client);
  if (!made) {
    failure_set(f, "system", NULL, "libcrypto could not make a SCRAM-SHA-256 verifier");
    return false;
  }
  EVP_EncodeBlock(salt64, salt, sizeof salt);
  EVP_EncodeBlock(stored64, stored, sizeof stored);
  EVP_EncodeBlock(server64, server, sizeof server);
  snprintf(out, PG_SCRAM_VERIFIER_SIZE, "SCRAM-SHA-256$%d:%s$%s:%s", SCRAM_ITERATIONS, salt64, stored64,
           server64);
  return true;
}
