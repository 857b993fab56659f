/* tls.h - whom a connection trusts and who it says it is. The peer is always verified. */
#ifndef PGAFRUN_TLS_H
#define PGAFRUN_TLS_H

#include <stdbool.h>

#include <curl/curl.h>

#include "failure.h"

/* PEM texts, or NULL. Borrowed for the call that takes them. */
typedef struct tls_options {
  const char *ca; /* trust these instead of the system's CAs; the host name must match too */
  const char *
      pinned; /* trust this server certificate alone: the chain must end in it and the key must be its key, whatever
                         the host is called. Not together with ca */
  const char *cert; /* the client's certificate, and its key: both or none */
  const char *key;
} tls_options_t;

/* Sets easy's TLS options: TLS 1.2 or later, peer verified. False and f (kind "tls") when a text is unusable: no
 * certificate in it, or a key that is encrypted. */
bool tls_apply(CURL *easy, const tls_options_t *tls, failure_t *f);

/* What a refusal of the server's certificate means, given whom tls trusts; static text. */
const char *tls_distrust(const tls_options_t *tls);

/* "sha256//BASE64" of the public key of the first certificate in pem, as CURLOPT_PINNEDPUBLICKEY takes it. pin must have
 * TLS_PIN_SIZE bytes. False: pem holds no certificate. */
#define TLS_PIN_SIZE 56
bool tls_pin(const char *pem, char *pin);

#endif
