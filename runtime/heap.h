/* heap.h - a binary min-heap of wake-up times. Entries are embedded in their owners; nothing is owned here
 * but the array of pointers. One heap and one uv_timer serve all tasks, so a sleeping task costs no handle. */
#ifndef PGAFRUN_HEAP_H
#define PGAFRUN_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NONE ((size_t)-1)

typedef struct heap_entry {
  uint64_t at;  /* uv_hrtime nanoseconds */
  size_t index; /* HEAP_NONE when not in the heap */
} heap_entry_t;

typedef struct heap {
  heap_entry_t **entries;
  size_t count, capacity;
} heap_t;

/* False when there is no memory; nothing has changed then. */
bool heap_insert(heap_t *heap, heap_entry_t *entry);
/* Harmless for an entry that is not in the heap. */
void heap_remove(heap_t *heap, heap_entry_t *entry);
/* The earliest entry, or NULL. */
heap_entry_t *heap_first(const heap_t *heap);
void heap_free(heap_t *heap);

#endif
