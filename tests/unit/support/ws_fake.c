#include "ws_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

bool ws_fake_accept(peer_t *peer, char *out, size_t room) {
  if (!peer_request(peer)) return false;
  const char *key = strcasestr(peer->text, "\r\nSec-WebSocket-Key: ");
  if (!key) return false;
  char text[64], accept[32];
  unsigned char digest[EVP_MAX_MD_SIZE];
  int n = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 21);
  EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, 20);
  snprintf(out, room,
           "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
           "Sec-WebSocket-Accept: %s\r\n\r\n",
           accept);
  return true;
}

bool ws_fake_upgrade(peer_t *peer) {
  char reply[256];
  return ws_fake_accept(peer, reply, sizeof reply) && peer_say(peer, reply);
}

size_t ws_fake_encode(unsigned char *out, int opcode, bool fin, const void *data, size_t size) {
  size_t n = 0;
  out[n++] = (unsigned char)((fin ? 0x80 : 0) | opcode);
  if (size < 126) {
    out[n++] = (unsigned char)size;
  } else if (size < 65536) {
    out[n++] = 126;
    for (int shift = 8; shift >= 0; shift -= 8) out[n++] = (unsigned char)(size >> shift);
  } else {
    out[n++] = 127;
    for (int shift = 56; shift >= 0; shift -= 8)
      out[n++] = (unsigned char)((unsigned long long)size >> shift);
  }
  if (size) memcpy(out + n, data, size);
  return n + size;
}

bool ws_fake_send(peer_t *peer, int opcode, bool fin, const void *data, size_t size) {
  unsigned char *frame = malloc(size + 10);
  size_t n = ws_fake_encode(frame, opcode, fin, data, size);
  bool ok = peer_write(peer, frame, n);
  free(frame);
  return ok;
}

bool ws_fake_receive(peer_t *peer, ws_frame_t *frame) {
  unsigned char head[2], extra[8], mask[4];
  if (!peer_read(peer, head, 2)) return false;
  frame->fin = head[0] & 0x80;
  frame->opcode = head[0] & 15;
  frame->masked = head[1] & 0x80;
  size_t size = head[1] & 127, more = size == 126 ? 2 : size == 127 ? 8 : 0;
  if (!peer_read(peer, extra, more)) return false;
  if (more) size = 0;
  for (size_t i = 0; i < more; i++) size = size << 8 | extra[i];
  if (frame->masked && !peer_read(peer, mask, 4)) return false;
  frame->size = size;
  frame->data = malloc(size + 1);
  if (!peer_read(peer, frame->data, size)) {
    free(frame->data);
    return false;
  }
  if (frame->masked)
    for (size_t i = 0; i < size; i++) frame->data[i] ^= mask[i % 4];
  frame->data[size] = 0;
  return true;
}
