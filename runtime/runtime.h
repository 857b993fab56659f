/* runtime.h - what one pgafrun process has one of. Found from Lua by runtime_of() (bindings/async.h). */
#ifndef PGAFRUN_RUNTIME_H
#define PGAFRUN_RUNTIME_H

#include <uv.h>

#include "log.h"

typedef struct runtime runtime_t;
struct scheduler; /* runtime/scheduler.h */
struct http;      /* runtime/http.h */

struct runtime {
  uv_loop_t loop;
  log_t log;
  struct scheduler *scheduler; /* made first, freed last */
  struct http *http;           /* curl's multi handle; made at first use by http_of() */
};

#endif
