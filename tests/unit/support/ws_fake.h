/* ws_fake.h - the server's side of a websocket, for the scripts of fake.h. */
#ifndef PGAFRUN_WS_FAKE_H
#define PGAFRUN_WS_FAKE_H

#include "fake.h"

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

typedef struct ws_frame {
  int opcode;
  bool fin, masked;
  size_t size;
  unsigned char *data; /* to be freed by the caller */
} ws_frame_t;

/* Reads the upgrade request and writes the 101 into out (for scripts that send more with it). False at the end. */
bool ws_fake_accept(peer_t *peer, char *out, size_t room);
/* Reads the upgrade request and answers it. */
bool ws_fake_upgrade(peer_t *peer);

/* Encodes an unmasked frame at out, which must have size + 10 bytes; its length. */
size_t ws_fake_encode(unsigned char *out, int opcode, bool fin, const void *data, size_t size);
bool ws_fake_send(peer_t *peer, int opcode, bool fin, const void *data, size_t size);
bool ws_fake_receive(peer_t *peer, ws_frame_t *frame);

#endif
