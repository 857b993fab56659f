/* ws_reply_fuzz.c - what a server may answer to a websocket's handshake, and urls on their way into messages. Whatever it is, the
 * reader stays within its bytes, ends, and judges the same whether the bytes come at once or in pieces.
 *
 * Built and run by tests/fuzz/run_ws_reply. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/curlfail.h"
#include "runtime/ws_handshake.h"

#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  abort();
}

/* A copy of its own size, so that reading beyond it is seen. */
static ws_reply_t judge(const uint8_t *data, size_t size, bool over, failure_t *f) {
  char *copy = malloc(size ? size : 1);
  size_t used = 0;
  memcpy(copy, data, size);
  memset(f, 0, sizeof *f);
  ws_reply_t verdict = ws_reply(copy, size, over, ACCEPT, "fuzz", &used, f);
  free(copy);
  if (used > size) fail("used more than there is");
  if (over && verdict == WS_REPLY_MORE) fail("waits for more after the end");
  if ((verdict == WS_REPLY_FAILED) != failure_is_set(f)) fail("a failure without a reason");
  return verdict;
}

static void check_url(const uint8_t *data, size_t size) {
  char out[64], *url = malloc(size + 1);
  memcpy(url, data, size);
  url[size] = 0;
  curlfail_url(out, sizeof out, url);
  free(url);
  if (strlen(out) >= sizeof out) fail("a url without an end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  failure_t whole, part;
  ws_reply_t verdict = judge(data, size, false, &whole);
  check_url(data, size);
  judge(data, size, true, &part);
  for (size_t i = 0; i < size; i++) {
    ws_reply_t early = judge(data, i, false, &part);
    if (early == WS_REPLY_MORE) continue;
    /* a refusal may be told before all of its text has come; nothing else may turn */
    if (verdict != early || strcmp(part.code, whole.code) != 0) fail("judged otherwise in pieces");
    break;
  }
  return 0;
}
