/* fake.h - a server that does exactly what a test says, with blocking sockets in threads of its own.
 *
 * The script runs once for each connection, in that connection's thread, and is told its number, from 0. When it
 * returns the connection is closed. fake_stop wakes scripts that wait in peer_* and joins all threads. */
#ifndef PGAFRUN_FAKE_H
#define PGAFRUN_FAKE_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

typedef struct peer {
  int fd;
  SSL *ssl;         /* NULL without TLS */
  char text[70000]; /* what peer_request read last, zero-terminated */
  size_t size;
} peer_t;

typedef void (*fake_script_t)(peer_t *peer, int number, void *arg);

typedef struct fake fake_t;

fake_t *fake_unix(fake_script_t script, void *arg);
fake_t *fake_tcp(fake_script_t script, void *arg);
/* cert, key: PEM. client_ca: when set, a client certificate signed by it is demanded. */
fake_t *fake_tls(const char *cert, const char *key, const char *client_ca, fake_script_t script, void *arg);
void fake_stop(fake_t *fake);
const char *fake_path(const fake_t *fake); /* of the unix socket */
int fake_port(const fake_t *fake);
int fake_accepted(fake_t *fake); /* connections so far */

/* Reads one HTTP request, header and body by Content-Length, into peer->text. False at the end of the stream. */
bool peer_request(peer_t *peer);
bool peer_read(peer_t *peer, void *data, size_t size);
/* False when the other side is gone; that is for the test to judge. */
bool peer_write(peer_t *peer, const void *data, size_t size);
bool peer_say(peer_t *peer, const char *text);
bool peer_say_slowly(peer_t *peer, const void *data, size_t size);
/* Waits until the other side closes, and drops what it sends. */
void peer_stall(peer_t *peer);
/* Makes the close at the script's end a reset. */
void peer_reset(peer_t *peer);

/* A self-signed certificate for name (P-256), and its key, as PEM texts to be freed by the caller. */
void make_certificate(const char *name, char **cert, char **key);
/* The same key encrypted with a passphrase. */
char *encrypt_key(const char *pem);

#endif
