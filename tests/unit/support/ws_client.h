/* ws_client.h - what the tests of websockets have in common, beside http_client.h's runtime. */
#ifndef PGAFRUN_TEST_WS_CLIENT_H
#define PGAFRUN_TEST_WS_CLIENT_H

#include "http_client.h"
#include "runtime/ws.h"
#include "ws_fake.h"

/* Options for the fake's unix socket; the url has a secret, which no message may show. */
ws_options_t ws_options_for(const fake_t *fake);
/* Connects and asserts that it went well; the caller owns the socket. */
ws_t *ws_open_with(const ws_options_t *options);
/* Connects and asserts that it failed with this kind. */
failure_t ws_refused(const ws_options_t *options, const char *kind);

/* A script for fakes: sends back every message. */
void ws_fake_echo(peer_t *peer, int number, void *arg);

#endif
