#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <uv.h>

void failure_set(failure_t *f, const char *kind, const char *code, const char *format, ...) {
  va_list args;
  f->kind = kind;
  snprintf(f->code, sizeof f->code, "%s", code ? code : "");
  va_start(args, format);
  vsnprintf(f->message, sizeof f->message, format, args);
  va_end(args);
}

void failure_set_uv(failure_t *f, const char *kind, int uv_error, const char *format, ...) {
  va_list args;
  f->kind = uv_error == UV_ENOMEM ? "memory" : kind;
  uv_err_name_r(uv_error, f->code, sizeof f->code);
  va_start(args, format);
  int n = vsnprintf(f->message, sizeof f->message, format, args);
  va_end(args);
  if (n < 0) n = 0;
  size_t used = (size_t)n < sizeof f->message ? (size_t)n : sizeof f->message - 1;
  char reason[120];
  uv_strerror_r(uv_error, reason, sizeof reason);
  snprintf(f->message + used, sizeof f->message - used, ": %s", reason);
}
