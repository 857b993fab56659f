/* editor_keys.h - bytes from a terminal, cut into what they mean: keys, typed text, pasted text.
 *
 * The line editor must never wait for the rest of a key in the middle of the event loop; so it is only given what is
 * whole. What is not waits here for its rest, however long that takes.
 */
#ifndef PGAFRUN_EDITOR_KEYS_H
#define PGAFRUN_EDITOR_KEYS_H

#include <wchar.h>

#include "bytes.h"

enum { EDITOR_KEY_LENGTH = 32 };

typedef enum editor_token_kind {
  EDITOR_NOTHING, /* more bytes are needed */
  EDITOR_KEY,     /* key, key_length: a control character, or a sequence that begins with escape */
  EDITOR_TEXT,    /* text: typed */
  EDITOR_PASTE    /* text: pasted as a whole, line ends are \n */
} editor_token_kind_t;

typedef struct editor_token {
  editor_token_kind_t kind;
  wchar_t key[EDITOR_KEY_LENGTH];
  int key_length;
  wchar_t *text; /* ends with a zero; the caller frees it */
  size_t text_length;
} editor_token_t;

typedef struct editor_keys {
  bytes_t input;
  size_t at; /* what is before has been taken */
  bool pasting;
  size_t searched; /* of a paste: up to where its end was looked for */
} editor_keys_t;

/* Adds what was read. False: no memory. */
bool editor_keys_add(editor_keys_t *keys, const char *data, size_t size);

/* Takes the next token. False: no memory; then nothing was taken. */
bool editor_keys_next(editor_keys_t *keys, editor_token_t *token);

/* Throws away what has not been taken. */
void editor_keys_clear(editor_keys_t *keys);
void editor_keys_free(editor_keys_t *keys);

/* UTF-8 as wide characters; what is no UTF-8 becomes U+FFFD, NUL is left out. NULL: no memory. The caller frees it. */
wchar_t *editor_widen(const char *text, size_t size, size_t *length);
/* The other way, added to `to`. False: no memory. */
bool editor_narrow(bytes_t *to, const wchar_t *text, size_t length);

#endif
