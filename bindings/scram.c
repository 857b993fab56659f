/* scram.c - whether a password belongs to a SCRAM-SHA-256 verifier (RFC 5802, as pg_authid.rolpassword has it);
 * docs/meta/scram.lua has the interface. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "modules.h"

enum { DIGEST = 32, SALT_MAX = 256, ITERATIONS_MAX = 10000000 };

static const char PREFIX[] = "SCRAM-SHA-256$";

/* Decodes base64 text of `size` characters into at most `room` bytes. Returns their number, or -1. */
static int decode(const char *text, size_t size, unsigned char *to, size_t room) {
  unsigned char buffer[SALT_MAX + 3];
  if (size == 0 || size % 4 || size / 4 * 3 > sizeof buffer) return -1;
  int n = EVP_DecodeBlock(buffer, (const unsigned char *)text, (int)size); /* counts the padding as bytes */
  if (n < 0) return -1;
  for (size_t i = size; i > size - 2 && text[i - 1] == '='; i--) n--;
  if ((size_t)n > room) return -1;
  memcpy(to, buffer, (size_t)n);
  return n;
}

typedef struct verifier {
  int iterations, salt_size;
  unsigned char salt[SALT_MAX], stored_key[DIGEST];
} verifier_t;

/* SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> */
static bool verifier_parse(const char *text, verifier_t *v) {
  if (strncmp(text, PREFIX, sizeof PREFIX - 1) != 0) return false;
  char *end;
  long iterations = strtol(text + sizeof PREFIX - 1, &end, 10);
  if (iterations < 1 || iterations > ITERATIONS_MAX || *end != ':') return false;
  const char *salt = end + 1, *stored = strchr(salt, '$');
  const char *server = stored ? strchr(stored, ':') : NULL;
  if (!server) return false;
  v->iterations = (int)iterations;
  v->salt_size = decode(salt, (size_t)(stored - salt), v->salt, sizeof v->salt);
  return v->salt_size > 0 &&
         decode(stored + 1, (size_t)(server - stored - 1), v->stored_key, DIGEST) == DIGEST;
}

/* StoredKey = SHA256(HMAC(PBKDF2(password, salt, iterations), "Client Key")) */
static bool stored_key(const char *password, size_t size, const verifier_t *v, unsigned char *key) {
  unsigned char salted[DIGEST], client[DIGEST];
  unsigned n;
  bool ok = PKCS5_PBKDF2_HMAC(password, (int)size, v->salt, v->salt_size, v->iterations, EVP_sha256(), DIGEST,
                              salted) &&
            HMAC(EVP_sha256(), salted, DIGEST, (const unsigned char *)"Client Key", 10, client, &n) &&
            EVP_Digest(client, DIGEST, key, &n, EVP_sha256(), NULL);
  OPENSSL_cleanse(salted, sizeof salted);
  OPENSSL_cleanse(client, sizeof client);
  return ok;
}

static int lscram_matches(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  size_t size;
  const char *password = luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, size <= 4096, 2, "too long");
  verifier_t v;
  unsigned char key[DIGEST];
  bool same = verifier_parse(text, &v) && stored_key(password, size, &v, key) &&
              CRYPTO_memcmp(key, v.stored_key, DIGEST) == 0;
  OPENSSL_cleanse(key, sizeof key);
  lua_pushboolean(L, same);
  return 1;
}

int luaopen_pgafrun_scram(lua_State *L) {
  static const luaL_Reg functions[] = {{"matches", lscram_matches}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
