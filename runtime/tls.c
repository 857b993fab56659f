#include "tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

bool tls_pin(const char *pem, char *pin) {
  bool ok = false;
  unsigned char *der = NULL;
  BIO *bio = BIO_new_mem_buf(pem, -1);
  X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
  int size = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1;
  unsigned char digest[EVP_MAX_MD_SIZE];
  if (size > 0 && EVP_Digest(der, (size_t)size, digest, NULL, EVP_sha256(), NULL)) {
    memcpy(pin, "sha256//", 8);
    EVP_EncodeBlock((unsigned char *)pin + 8, digest, 32);
    ok = true;
  }
  OPENSSL_free(der);
  X509_free(cert);
  BIO_free(bio);
  ERR_clear_error(); /* a stale entry would be taken for the next connection's error */
  return ok;
}

/* Both PEM forms of an encrypted key say so in clear text (RFC 7468 section 11, RFC 1421 section 4.6.1.1). */
static bool key_is_encrypted(const char *pem) {
  return strstr(pem, "BEGIN ENCRYPTED PRIVATE KEY") || strstr(pem, "Proc-Type: 4,ENCRYPTED");
}

static void set_blob(CURL *easy, CURLoption option, const char *pem) {
  struct curl_blob blob = {.data = (void *)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};
  curl_easy_setopt(easy, option, &blob);
}

static bool set_identity(CURL *easy, const tls_options_t *tls, failure_t *f) {
  if (key_is_encrypted(tls->key)) {
    failure_set(f, "tls", "encrypted key",
                "the client key is encrypted with a passphrase, which cannot be asked for here; "
                "give a key without one (openssl pkey -in KEY -out PLAIN_KEY)");
    return false;
  }
  set_blob(easy, CURLOPT_SSLCERT_BLOB, tls->cert);
  curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
  set_blob(easy, CURLOPT_SSLKEY_BLOB, tls->key);
  curl_easy_setopt(easy, CURLOPT_SSLKEYTYPE, "PEM");
  return true;
}

const char *tls_distrust(const tls_options_t *tls) {
  if (tls->pinned)
    return "; the server's certificate is not the pinned one: has it been replaced, or is it another server?";
  if (tls->ca) return "; the server's certificate does not come from the given CA, or is another host's";
  return "; the server's certificate does not come from a CA that this system trusts, or is another host's";
}

bool tls_apply(CURL *easy, const tls_options_t *tls, failure_t *f) {
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->pinned ? 0L : 2L);
  const char *roots = tls->pinned ? tls->pinned : tls->ca;
  if (roots) {
    /* the blob replaces the file of system CAs but not the directory */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    set_blob(easy, CURLOPT_CAINFO_BLOB, roots);
  }
  if (tls->pinned) {
    char pin[TLS_PIN_SIZE];
    if (!tls_pin(tls->pinned, pin)) {
      failure_set(f, "tls", "bad certificate",
                  "the pinned server certificate is not a certificate in PEM form");
      return false;
    }
    curl_easy_setopt(easy, CURLOPT_PINNEDPUBLICKEY, pin);
  }
  return !tls->cert || set_identity(easy, tls, f);
}
