/* bytes.h - a growing run of bytes on the C heap. Zeroed is empty; the owner calls bytes_free. */
#ifndef PGAFRUN_BYTES_H
#define PGAFRUN_BYTES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bytes {
  char *data; /* NULL until the first byte; not terminated by a zero */
  size_t size;
  size_t room;
} bytes_t;

/* Makes room for at least `room` bytes in all. False: no memory, and nothing has changed. */
bool bytes_reserve(bytes_t *b, size_t room);
/* Adds size bytes at the end. False: no memory, and nothing has changed. */
bool bytes_append(bytes_t *b, const void *data, size_t size);
/* Adds formatted text, without its closing zero. */
bool bytes_printf(bytes_t *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Frees the memory and makes b empty again. */
void bytes_free(bytes_t *b);

#endif
