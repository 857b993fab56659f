#include "ws_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

ws_options_t ws_options_for(const fake_t *fake) {
  return (ws_options_t){.url = "ws://server/socket?secret=hunter2",
                        .unix_socket = fake_path(fake),
                        .timeout = 10,
                        .max_bytes = 64 << 20};
}

ws_t *ws_open_with(const ws_options_t *options) {
  op_t *op = ws_connect(&client, options);
  assert_non_null(op);
  loop_wait(&client, op);
  if (failure_is_set(&op->failure)) fail_msg("%s", op->failure.message);
  ws_t *ws = ws_connected(op);
  op_release(op);
  return ws;
}

failure_t ws_refused(const ws_options_t *options, const char *kind) {
  op_t *op = ws_connect(&client, options);
  assert_non_null(op);
  loop_wait(&client, op);
  assert_true(failure_is_set(&op->failure));
  if (strcmp(op->failure.kind, kind) != 0)
    fail_msg("kind %s, code %s: %s", op->failure.kind, op->failure.code, op->failure.message);
  failure_t f = op->failure;
  op_release(op);
  assert_null(strstr(f.message, "hunter2"));
  return f;
}

void ws_fake_echo(peer_t *peer, int number, void *arg) {
  ws_frame_t f;
  if (!ws_fake_upgrade(peer)) return;
  while (ws_fake_receive(peer, &f)) {
    bool ok = f.masked && ws_fake_send(peer, f.opcode, true, f.data, f.size);
    free(f.data);
    if (!ok) return;
  }
}
