/* handles.h - the handles that libuv has open, and what each of them is about, for people who look for a leak or ask what
 * a run is waiting for. Found out when asked; nothing is recorded. */
#ifndef PGAFRUN_HANDLES_H
#define PGAFRUN_HANDLES_H

#include <stdbool.h>
#include <uv.h>

typedef struct handle_info {
  const uv_handle_t *handle;
  const char *type; /* libuv's word: "timer", "poll", "pipe" ... */
  bool active;      /* it waits for something */
  bool referenced;  /* it keeps the loop alive while active */
  bool closing;
  char about
      [256]; /* "tcp 10.0.3.1:5432", "process 4711", "due in 1.500 s"; "" when there is nothing to tell */
} handle_info_t;

typedef void (*handle_visitor_t)(const handle_info_t *info, void *data);

/* Calls visit for each handle; it must neither open nor close any. */
void handles_visit(uv_loop_t *loop, handle_visitor_t visit, void *data);

#endif
