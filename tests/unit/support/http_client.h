/* http_client.h - what the tests of HTTP and of TLS have in common: one runtime, requests of it, and judging the answer. */
#ifndef PGAFRUN_TEST_HTTP_CLIENT_H
#define PGAFRUN_TEST_HTTP_CLIENT_H

#include "fake.h"
#include "loop.h"
#include "runtime/http.h"

extern runtime_t client;

/* cmocka's setup and teardown of each test; the latter asserts that nothing is left in the loop. */
int client_begin(void **state);
int client_end(void **state);

/* A GET of the fake's unix socket, or of its port ("http" or "https"), to be changed as a test needs. */
http_options_t http_get(const fake_t *fake);
http_options_t http_get_tcp(const fake_t *fake, const char *scheme);

/* Performs a request; the caller releases. */
op_t *http_perform(const http_options_t *options);
/* Performs and releases; asserts that it went well with this status and body. */
void http_expect(const http_options_t *options, int status, const char *body);
/* Performs and releases; asserts that it failed with this kind. */
failure_t http_expect_failure(const http_options_t *options, const char *kind);

/* A script for fakes: says arg to every request of every connection. */
void say(peer_t *peer, int number, void *arg);

#endif
