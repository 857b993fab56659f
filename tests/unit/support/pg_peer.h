/* pg_peer.h - the server's side of PostgreSQL's protocol, for fakes that follow it just far enough to
 * break it. */
#ifndef PGAFRUN_TEST_PG_PEER_H
#define PGAFRUN_TEST_PG_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "fake.h"

#define PG_PEER_STARTUP 196608 /* protocol 3.0 */
#define PG_PEER_CANCEL 80877102
#define PG_PEER_SSL 80877103

/* Reads a startup packet and returns its code, 0 at the end of the stream. Its body is in peer->text. */
uint32_t pg_peer_first(peer_t *peer);
/* Reads startup packets, refusing TLS, until the one that starts the session. */
bool pg_peer_startup(peer_t *peer);
/* Reads one message: returns its type, 0 at the end of the stream; its body is in peer->text. */
char pg_peer_read(peer_t *peer);
/* Reads messages up to one of this type. */
bool pg_peer_read_until(peer_t *peer, char type);

/* A growing sequence of messages, to be sent in one go, or byte by byte, or in part. */
typedef struct pg_script {
  unsigned char bytes[24000];
  size_t size;
} pg_script_t;

void pg_say(pg_script_t *s, char type, const void *body, size_t size);
/* Authentication is fine, parameters (in_hot_standby and default_transaction_read_only if not NULL),
 * process 77. */
void pg_say_welcome(pg_script_t *s, const char *in_hot_standby, const char *read_only);
void pg_say_ready(pg_script_t *s);
/* One column of type int4 named n. */
void pg_say_columns(pg_script_t *s);
void pg_say_row(pg_script_t *s, const char *value);
void pg_say_complete(pg_script_t *s, const char *tag);
/* Row and all: what an extended query of `select 1` is answered, without the end. */
void pg_say_one(pg_script_t *s, const char *value);
void pg_say_error(pg_script_t *s, const char *severity, const char *sqlstate, const char *message);
void pg_say_notice(pg_script_t *s, const char *sqlstate, const char *message);
void pg_say_notification(pg_script_t *s, const char *channel, const char *payload);
bool pg_send(peer_t *peer, const pg_script_t *s);

/* Accepts the session as a plain primary and waits for nothing more. */
bool pg_peer_welcome(peer_t *peer);

#endif
