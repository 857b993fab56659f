/* crypto.c - digests, ciphers, random bytes, base64 and certificates, by libcrypto; docs/meta/crypto.lua has the interface. */
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "async.h"
#include "collect.h"
#include "modules.h"

#define CERTIFICATE_METATABLE "pgafrun.crypto.certificate"
#define CIPHER_METATABLE "pgafrun.crypto.cipher"

enum {
  RANDOM_MAX = 4096,
  DERIVED_MAX = 1024,
  ITERATIONS_MAX = 1000000, /* a second or so: it is computed at once, and nothing else goes on meanwhile */
  AES_KEY = 32,
  AES_BLOCK = 16,
};

/* --- bytes ----------------------------------------------------------------------------------------------- */

static void push_hex(lua_State *L, const unsigned char *bytes, size_t n) {
  static const char digits[] = "0123456789abcdef";
  luaL_Buffer b;
  char *hex = luaL_buffinitsize(L, &b, n * 2);
  for (size_t i = 0; i < n; i++) {
    hex[2 * i] = digits[bytes[i] >> 4];
    hex[2 * i + 1] = digits[bytes[i] & 15];
  }
  luaL_pushresultsize(&b, n * 2);
}

static int lcrypto_sha256(lua_State *L) {
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;
  if (!EVP_Digest(data, size, digest, &n, EVP_sha256(), NULL))
    return luaL_error(L, "libcrypto has no SHA-256");
  push_hex(L, digest, n);
  return 1;
}

static int lcrypto_random_hex(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n > 0 && n <= RANDOM_MAX, 1, "1 to 4096 bytes");
  unsigned char bytes[RANDOM_MAX];
  if (RAND_bytes(bytes, (int)n) != 1) {
    failure_t f = {0};
    failure_set(&f, "system", "random", "the system gave no random bytes");
    return failure_raise(L, &f, "crypto.random_hex");
  }
  push_hex(L, bytes, (size_t)n);
  OPENSSL_cleanse(bytes, (size_t)n);
  return 1;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int lcrypto_base64_encode(lua_State *L) {
  size_t size;
  const unsigned char *data = (const unsigned char *)luaL_checklstring(L, 1, &size);
  luaL_argcheck(L, size < SIZE_MAX / 4 * 3 - 4, 1, "too long");
  luaL_Buffer b;
  char *text = luaL_buffinitsize(L, &b, (size + 2) / 3 * 4), *to = text;
  for (size_t i = 0; i < size; i += 3, to += 4) {
    size_t n = size - i;
    uint32_t bits =
        (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (n > 2 ? data[i + 2] : 0);
    to[0] = base64_digits[bits >> 18];
    to[1] = base64_digits[bits >> 12 & 63];
    to[2] = n > 1 ? base64_digits[bits >> 6 & 63] : '=';
    to[3] = n > 2 ? base64_digits[bits & 63] : '=';
  }
  luaL_pushresultsize(&b, (size_t)(to - text));
  return 1;
}

/* Strict (RFC 4648): padding is there and right, no stray bits; only white space between digits is passed over. Returns
 * the length, or -1. */
static ptrdiff_t base64_decode(const char *text, size_t size, unsigned char *to) {
  uint32_t bits = 0;
  int digits = 0, padding = 0;
  unsigned char *start = to;
  for (size_t i = 0; i < size; i++) {
    if (memchr(" \t\r\n", text[i], 4)) continue;
    const char *at = memchr(base64_digits, text[i], 64);
    if (text[i] == '=' ? ++padding > 2 : !at || padding) return -1;
    bits = bits << 6 | (at ? (uint32_t)(at - base64_digits) : 0);
    if (++digits % 4) continue;
    *to++ = (unsigned char)(bits >> 16);
    if (padding < 2) *to++ = (unsigned char)(bits >> 8);
    if (padding < 1) *to++ = (unsigned char)bits;
    if ((padding == 1 && bits & 0xC0) || (padding == 2 && bits & 0xF000)) return -1;
    bits = 0;
  }
  return digits % 4 ? -1 : to - start;
}

static int raise_data(lua_State *L, const char *operation, const char *code, const char *what) {
  failure_t f = {0};
  failure_set(&f, "data", code, "%s", what);
  return failure_raise(L, &f, operation);
}

static int lcrypto_base64_decode(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  luaL_Buffer b;
  char *data = luaL_buffinitsize(L, &b, size / 4 * 3 + 3);
  ptrdiff_t n = base64_decode(text, size, (unsigned char *)data);
  if (n < 0) return raise_data(L, "crypto.base64_decode", "base64", "the text is not base64");
  luaL_pushresultsize(&b, (size_t)n);
  return 1;
}

/* --- keys and ciphers ------------------------------------------------------------------------------------- */

static int lcrypto_equal(lua_State *L) {
  size_t a_size, b_size;
  const char *a = luaL_checklstring(L, 1, &a_size), *b = luaL_checklstring(L, 2, &b_size);
  lua_pushboolean(L, a_size == b_size && CRYPTO_memcmp(a, b, a_size) == 0);
  return 1;
}

static int lcrypto_hmac_sha256(lua_State *L) {
  size_t key_size, size;
  const char *key = luaL_checklstring(L, 1, &key_size), *data = luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, key_size <= INT32_MAX, 1, "too long");
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  if (!HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)data, size, digest, &n))
    return luaL_error(L, "libcrypto has no HMAC-SHA-256");
  lua_pushlstring(L, (const char *)digest, n);
  return 1;
}

static int lcrypto_pbkdf2_sha256(lua_State *L) {
  size_t password_size, salt_size;
  const char *password = luaL_checklstring(L, 1, &password_size), *salt = luaL_checklstring(L, 2, &salt_size);
  lua_Integer iterations = luaL_checkinteger(L, 3), size = luaL_checkinteger(L, 4);
  luaL_argcheck(L, password_size <= INT32_MAX, 1, "too long");
  luaL_argcheck(L, salt_size <= INT32_MAX, 2, "too long");
  luaL_argcheck(L, iterations > 0 && iterations <= ITERATIONS_MAX, 3, "1 to 1000000 iterations");
  luaL_argcheck(L, size > 0 && size <= DERIVED_MAX, 4, "1 to 1024 bytes");
  unsigned char derived[DERIVED_MAX];
  if (PKCS5_PBKDF2_HMAC(password, (int)password_size, (const unsigned char *)salt, (int)salt_size,
                        (int)iterations, EVP_sha256(), (int)size, derived) != 1)
    return luaL_error(L, "libcrypto has no PBKDF2");
  lua_pushlstring(L, (const char *)derived, (size_t)size);
  OPENSSL_cleanse(derived, sizeof derived);
  return 1;
}

/* A userdata holds the context, because pushing the result may raise. */
static int cipher_gc(lua_State *L) {
  EVP_CIPHER_CTX **context = lua_touserdata(L, 1);
  EVP_CIPHER_CTX_free(*context);
  *context = NULL;
  return 0;
}

static EVP_CIPHER_CTX *push_cipher(lua_State *L) {
  EVP_CIPHER_CTX **context = lua_newuserdatauv(L, sizeof(EVP_CIPHER_CTX *), 0);
  *context = NULL;
  collect_by(L, CIPHER_METATABLE, cipher_gc);
  *context = EVP_CIPHER_CTX_new();
  if (!*context) memory_raise(L, NULL);
  return *context;
}

static int lcrypto_aes256_ctr(lua_State *L) {
  size_t key_size, counter_size, size;
  const char *key = luaL_checklstring(L, 1, &key_size), *counter = luaL_checklstring(L, 2, &counter_size),
             *data = luaL_checklstring(L, 3, &size);
  luaL_argcheck(L, key_size == AES_KEY, 1, "a key of 32 bytes");
  luaL_argcheck(L, counter_size == AES_BLOCK, 2, "a counter of 16 bytes");
  luaL_argcheck(L, size <= INT32_MAX - AES_BLOCK, 3, "too long");
  EVP_CIPHER_CTX *context = push_cipher(L);
  luaL_Buffer b;
  unsigned char *to = (unsigned char *)luaL_buffinitsize(L, &b, size + AES_BLOCK);
  int n = 0, rest = 0;
  bool ok = EVP_EncryptInit_ex(context, EVP_aes_256_ctr(), NULL, (const unsigned char *)key,
                               (const unsigned char *)counter) == 1 &&
            EVP_EncryptUpdate(context, to, &n, (const unsigned char *)data, (int)size) == 1 &&
            EVP_EncryptFinal_ex(context, to + n, &rest) == 1;
  if (!ok) return luaL_error(L, "libcrypto has no AES-256-CTR");
  luaL_pushresultsize(&b, (size_t)n + (size_t)rest);
  return 1;
}

/* --- certificates ---------------------------------------------------------------------------------------- */

/* What libcrypto allocated belongs to a userdata, because pushing values may raise. */
typedef struct certificate {
  X509 *x509;
  GENERAL_NAMES *names;
  BIO *text;
} certificate_t;

static int certificate_gc(lua_State *L) {
  certificate_t *c = lua_touserdata(L, 1);
  X509_free(c->x509);
  GENERAL_NAMES_free(c->names);
  BIO_free(c->text);
  memset(c, 0, sizeof *c);
  return 0;
}

static certificate_t *push_certificate(lua_State *L) {
  certificate_t *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  collect_by(L, CERTIFICATE_METATABLE, certificate_gc);
  return c;
}

/* Or libcrypto would ask for it on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *user) { return -1; }

static void read_pem(certificate_t *c, const char *pem, size_t size) {
  BIO *in = BIO_new_mem_buf(pem, (int)size);
  if (in) c->x509 = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
  BIO_free(in);
}

/* Pushes a name in the form of RFC 2253, most specific part first, UTF-8. */
static void push_name(lua_State *L, certificate_t *c, const X509_NAME *name) {
  char *text;
  c->text = BIO_new(BIO_s_mem());
  if (!c->text) memory_raise(L, NULL);
  X509_NAME_print_ex(c->text, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  long n = BIO_get_mem_data(c->text, &text);
  lua_pushlstring(L, text, n > 0 ? (size_t)n : 0);
  BIO_free(c->text);
  c->text = NULL;
}

static void append(lua_State *L, int list) { lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1); }

/* Pushes the lists of names and of addresses that it is valid for. */
static void push_alternative_names(lua_State *L, certificate_t *c) {
  lua_newtable(L);
  lua_newtable(L);
  int ip = lua_gettop(L), dns = ip - 1;
  c->names = X509_get_ext_d2i(c->x509, NID_subject_alt_name, NULL, NULL);
  for (int i = 0; c->names && i < sk_GENERAL_NAME_num(c->names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(c->names, i);
    char address[INET6_ADDRSTRLEN];
    if (name->type == GEN_DNS) {
      const ASN1_STRING *text = name->d.dNSName;
      lua_pushlstring(L, (const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
      append(L, dns);
    } else if (name->type == GEN_IPADD) {
      const ASN1_STRING *bytes = name->d.iPAddress;
      int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
      if (family == AF_INET6 && ASN1_STRING_length(bytes) != 16) continue;
      lua_pushstring(L, inet_ntop(family, ASN1_STRING_get0_data(bytes), address, sizeof address));
      append(L, ip);
    }
  }
}

static int lcrypto_certificate(lua_State *L) {
  size_t size;
  const char *pem = luaL_checklstring(L, 1, &size);
  luaL_argcheck(L, size < 1 << 20, 1, "longer than 1 MiB");
  certificate_t *c = push_certificate(L);
  read_pem(c, pem, size);
  if (!c->x509)
    return raise_data(L, "crypto.certificate", "pem", "the text holds no certificate in PEM form");
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  struct tm end = {0};
  bool ok =
      X509_digest(c->x509, EVP_sha256(), digest, &n) && ASN1_TIME_to_tm(X509_get0_notAfter(c->x509), &end);
  if (!ok) return raise_data(L, "crypto.certificate", "x509", "the certificate cannot be understood");
  lua_createtable(L, 0, 6);
  push_hex(L, digest, n);
  lua_setfield(L, -2, "fingerprint");
  push_name(L, c, X509_get_subject_name(c->x509));
  lua_setfield(L, -2, "subject");
  push_name(L, c, X509_get_issuer_name(c->x509));
  lua_setfield(L, -2, "issuer");
  lua_pushnumber(L, (lua_Number)timegm(&end));
  lua_setfield(L, -2, "not_after");
  push_alternative_names(L, c);
  lua_setfield(L, -3, "ip");
  lua_setfield(L, -2, "dns");
  return 1;
}

int luaopen_pgafrun_crypto(lua_State *L) {
  static const luaL_Reg functions[] = {{"sha256", lcrypto_sha256},
                                       {"random_hex", lcrypto_random_hex},
                                       {"base64_encode", lcrypto_base64_encode},
                                       {"base64_decode", lcrypto_base64_decode},
                                       {"equal", lcrypto_equal},
                                       {"hmac_sha256", lcrypto_hmac_sha256},
                                       {"pbkdf2_sha256", lcrypto_pbkdf2_sha256},
                                       {"aes256_ctr", lcrypto_aes256_ctr},
                                       {"certificate", lcrypto_certificate},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
