#include "bytes.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bytes_reserve(bytes_t *b, size_t room) {
  if (room <= b->room) return true;
  char *data = realloc(b->data, room);
  if (!data) return false;
  b->data = data;
  b->room = room;
  return true;
}

/* Doubles, so that n bytes appended one by one cost O(n). */
static bool bytes_grow(bytes_t *b, size_t more) {
  if (more <= b->room - b->size) return true;
  if (more > SIZE_MAX - b->size) return false;
  size_t room = b->room < 256 ? 256 : b->room;
  while (room < b->size + more) {
    if (room > SIZE_MAX / 2) return false;
    room *= 2;
  }
  return bytes_reserve(b, room);
}

bool bytes_append(bytes_t *b, const void *data, size_t size) {
  if (!size) return true;
  if (!bytes_grow(b, size)) return false;
  memcpy(b->data + b->size, data, size);
  b->size += size;
  return true;
}

bool bytes_printf(bytes_t *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0 || !bytes_grow(b, (size_t)n + 1)) return false;
  va_start(args, format);
  vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
  va_end(args);
  b->size += (size_t)n;
  return true;
}

void bytes_free(bytes_t *b) {
  free(b->data);
  memset(b, 0, sizeof *b);
}
