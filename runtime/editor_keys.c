/* editor_keys.c - see editor_keys.h. Sequences are those of ECMA-48: CSI (escape, bracket) ends at a byte from 0x40 on. */
#include "editor_keys.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ESCAPE = 0x1b, DELETE = 0x7f, REPLACEMENT = 0xfffd };

static const char paste_begin[] = "\033[200~";
static const char paste_end[] = "\033[201~";

bool editor_keys_add(editor_keys_t *keys, const char *data, size_t size) {
  if (keys->at > 0 && keys->at == keys->input.size) keys->at = keys->input.size = keys->searched = 0;
  return bytes_append(&keys->input, data, size);
}

void editor_keys_clear(editor_keys_t *keys) {
  keys->at = keys->input.size = keys->searched = 0;
  keys->pasting = false;
}

void editor_keys_free(editor_keys_t *keys) { bytes_free(&keys->input); }

/* --- UTF-8 ----------------------------------------------------------------------------------------------- */

/* How many bytes the character has that begins with this one; 0 for a byte that begins none. */
static size_t utf8_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

/* Reads one character of at most size bytes; what is wrong is taken byte by byte. */
static size_t utf8_read(const unsigned char *text, size_t size, wchar_t *c) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = utf8_length(text[0]);
  *c = REPLACEMENT;
  if (length == 0 || length > size) return 1;
  uint32_t value = length == 1 ? text[0] : text[0] & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((text[i] & 0xc0) != 0x80) return 1;
    value = value << 6 | (text[i] & 0x3f);
  }
  if (value >= least[length] && value < 0x110000 && (value < 0xd800 || value >= 0xe000)) *c = (wchar_t)value;
  return length;
}

wchar_t *editor_widen(const char *text, size_t size, size_t *length) {
  wchar_t *wide = malloc((size + 1) * sizeof *wide);
  if (!wide) return NULL;
  *length = 0;
  for (size_t at = 0; at < size;) {
    wchar_t c;
    at += utf8_read((const unsigned char *)text + at, size - at, &c);
    if (c) wide[(*length)++] = c;
  }
  wide[*length] = 0;
  return wide;
}

static size_t utf8_write(char *to, uint32_t c) {
  if (c < 0x80) {
    to[0] = (char)c;
    return 1;
  }
  size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; i--) {
    to[i] = (char)(0x80 | (c & 0x3f));
    c >>= 6;
  }
  to[0] = (char)((0xf00 >> length) | c);
  return length;
}

bool editor_narrow(bytes_t *to, const wchar_t *text, size_t length) {
  if (!bytes_reserve(to, to->size + 4 * length + 1)) return false;
  for (size_t i = 0; i < length; i++) to->size += utf8_write(to->data + to->size, (uint32_t)text[i]);
  return true;
}

/* --- tokens ---------------------------------------------------------------------------------------------- */

static const unsigned char *rest(const editor_keys_t *keys, size_t *size) {
  *size = keys->input.size - keys->at;
  return (const unsigned char *)keys->input.data + keys->at;
}

/* Length of the sequence that begins with escape; 0 while its end is missing. */
static size_t sequence_length(const unsigned char *text, size_t size) {
  if (size < 2) return 0;
  if (text[1] == ESCAPE) return 1; /* one escape too many; the next may begin something */
  if (text[1] == 'O') return size < 3 ? 0 : 3;
  if (text[1] != '[') return 2;
  for (size_t i = 2; i < size; i++) {
    if (text[i] >= 0x40 && text[i] < DELETE) return i + 1;
    if (text[i] < 0x20 || text[i] >= DELETE) return i; /* no sequence after all */
  }
  return 0;
}

static void set_key(editor_token_t *token, const unsigned char *text, size_t size) {
  token->kind = EDITOR_KEY;
  token->key_length = 0;
  for (size_t i = 0; i < size && i < EDITOR_KEY_LENGTH; i++) token->key[token->key_length++] = text[i];
}

/* Terminals send the end of a line as \r. */
static size_t end_lines(wchar_t *text, size_t length) {
  size_t kept = 0;
  wchar_t last = 0;
  for (size_t i = 0; i < length; i++) {
    wchar_t c = text[i];
    if (c != '\n' || last != '\r') text[kept++] = c == '\r' ? '\n' : c;
    last = c;
  }
  text[kept] = 0;
  return kept;
}

static bool take_text(editor_keys_t *keys, editor_token_t *token, editor_token_kind_t kind, size_t size,
                      size_t skip) {
  token->text = editor_widen(keys->input.data + keys->at, size, &token->text_length);
  if (!token->text) return false;
  token->kind = kind;
  keys->at += size + skip;
  return true;
}

static bool take_paste(editor_keys_t *keys, editor_token_t *token) {
  const size_t mark = sizeof paste_end - 1;
  size_t size;
  const unsigned char *text = rest(keys, &size);
  size_t from = keys->searched > mark ? keys->searched - mark : 0;
  const unsigned char *end = memmem(text + from, size - from, paste_end, mark);
  keys->searched = size;
  if (!end) return true;
  if (!take_text(keys, token, EDITOR_PASTE, (size_t)(end - text), mark)) return false;
  token->text_length = end_lines(token->text, token->text_length);
  keys->pasting = false;
  return true;
}

/* Up to the next control character, without a character whose end is missing. */
static size_t text_length(const unsigned char *text, size_t size) {
  size_t n = 0;
  while (n < size && text[n] >= 0x20 && text[n] != DELETE) {
    size_t length = utf8_length(text[n]);
    if (length > 1 && n + length > size) break;
    n += length ? length : 1;
  }
  return n < size ? n : size;
}

static void take_sequence(editor_keys_t *keys, editor_token_t *token) {
  size_t size;
  const unsigned char *text = rest(keys, &size);
  size_t length = sequence_length(text, size);
  if (length == 0) return;
  if (length == sizeof paste_begin - 1 && memcmp(text, paste_begin, length) == 0) {
    keys->pasting = true;
    keys->searched = 0;
  } else {
    set_key(token, text, length);
  }
  keys->at += length;
}

bool editor_keys_next(editor_keys_t *keys, editor_token_t *token) {
  *token = (editor_token_t){.kind = EDITOR_NOTHING};
  size_t size;
  const unsigned char *text = rest(keys, &size);
  if (size > 0 && !keys->pasting && text[0] == ESCAPE) {
    take_sequence(keys, token);
    text = rest(keys, &size);
    if (token->kind != EDITOR_NOTHING) return true;
    if (!keys->pasting) return true;
  }
  if (size == 0) return true;
  if (keys->pasting) return take_paste(keys, token);
  if (text[0] < 0x20 || text[0] == DELETE) {
    set_key(token, text, 1);
    keys->at++;
    return true;
  }
  size_t length = text_length(text, size);
  return length == 0 || take_text(keys, token, EDITOR_TEXT, length, 0);
}
