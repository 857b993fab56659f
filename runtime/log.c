#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

const char *log_level_name(log_level_t level) {
  static const char *const names[] = {"debug", "info", "warn", "error"};
  return names[level];
}

static void put_json_string(FILE *out, const char *text) {
  putc('"', out);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p == '"' || *p == '\\')
      fprintf(out, "\\%c", *p);
    else if (*p < 0x20)
      fprintf(out, "\\u%04x", *p);
    else
      putc(*p, out);
  }
  putc('"', out);
}

static void put_json(FILE *out, log_level_t level, const char *message, const log_field_t *fields, int n) {
  struct timeval now;
  struct tm utc;
  char stamp[32];
  gettimeofday(&now, NULL);
  gmtime_r(&now.tv_sec, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  fprintf(out, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"message\":", stamp, (int)(now.tv_usec / 1000),
          log_level_name(level));
  put_json_string(out, message);
  for (int i = 0; i < n; i++) {
    putc(',', out);
    put_json_string(out, fields[i].name);
    putc(':', out);
    put_json_string(out, fields[i].value);
  }
  fputs("}\n", out);
}

void log_fields(const log_t *log, log_level_t level, const char *message, const log_field_t *fields, int n) {
  if (level < log->level) return;
  fflush(stdout); /* so that lines of both appear in the order they were written */
  if (log->hide) log->hide(log->screen);
  flockfile(stderr);
  if (log->json) {
    put_json(stderr, level, message, fields, n);
  } else {
    if (level != LOG_INFO) fprintf(stderr, "%s: ", level == LOG_WARN ? "warning" : log_level_name(level));
    fputs(message, stderr);
    for (int i = 0; i < n; i++) fprintf(stderr, " %s=%s", fields[i].name, fields[i].value);
    putc('\n', stderr);
  }
  funlockfile(stderr);
  if (log->show) log->show(log->screen);
}

void log_write(const log_t *log, log_level_t level, const char *format, ...) {
  char message[1000];
  va_list args;
  if (level < log->level) return;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  log_fields(log, level, message, NULL, 0);
}
