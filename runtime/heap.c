#include "heap.h"

#include <stdlib.h>

static void heap_place(heap_t *h, size_t i, heap_entry_t *e) {
  h->entries[i] = e;
  e->index = i;
}

static void heap_up(heap_t *h, size_t i) {
  heap_entry_t *e = h->entries[i];
  while (i > 0 && h->entries[(i - 1) / 2]->at > e->at) {
    heap_place(h, i, h->entries[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  heap_place(h, i, e);
}

static void heap_down(heap_t *h, size_t i) {
  heap_entry_t *e = h->entries[i];
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= h->count) break;
    if (child + 1 < h->count && h->entries[child + 1]->at < h->entries[child]->at) child++;
    if (h->entries[child]->at >= e->at) break;
    heap_place(h, i, h->entries[child]);
    i = child;
  }
  heap_place(h, i, e);
}

bool heap_insert(heap_t *h, heap_entry_t *e) {
  if (h->count == h->capacity) {
    size_t capacity = h->capacity ? h->capacity * 2 : 64;
    heap_entry_t **entries = realloc(h->entries, capacity * sizeof *entries);
    if (!entries) return false;
    h->entries = entries;
    h->capacity = capacity;
  }
  heap_place(h, h->count++, e);
  heap_up(h, e->index);
  return true;
}

void heap_remove(heap_t *h, heap_entry_t *e) {
  size_t i = e->index;
  if (i == HEAP_NONE) return;
  e->index = HEAP_NONE;
  heap_entry_t *last = h->entries[--h->count];
  if (last == e) return;
  heap_place(h, i, last);
  heap_down(h, i);
  heap_up(h, last->index);
}

heap_entry_t *heap_first(const heap_t *h) { return h->count ? h->entries[0] : NULL; }

void heap_free(heap_t *h) {
  free(h->entries);
  *h = (heap_t){0};
}
