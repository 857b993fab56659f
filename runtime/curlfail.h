/* curlfail.h - what a CURLcode means to somebody who has to decide what to do next. */
#ifndef PGAFRUN_CURLFAIL_H
#define PGAFRUN_CURLFAIL_H

#include <stddef.h>

#include <curl/curl.h>

#include "failure.h"

/* Fills f for a transfer that failed. kind and retryable follow from result and from the errno of the connection;
 * code is that errno's name ("EACCES", "ECONNREFUSED", ...) where there is one, else "curl N".
 * what: "GET https://host/path (unix socket /run/x)", already free of secrets (curlfail_url).
 * detail: curl's error buffer. distrust: said where the server's certificate was refused (tls_distrust).
 * got_reply: bytes of an answer had come. */
void curlfail_set(failure_t *f, CURL *easy, CURLcode result, const char *what, const char *detail,
                  const char *distrust, bool got_reply);

/* Copies url for people to read: without userinfo, and with the values of query parameters that carry secrets
 * (secret, password, token) starred. Truncates. */
void curlfail_url(char *out, size_t size, const char *url);

#endif
