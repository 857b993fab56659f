/* log.h - one line a message on stderr, as text for people or JSON for machines. */
#ifndef PGAFRUN_LOG_H
#define PGAFRUN_LOG_H

#include <stdbool.h>

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level_t;

typedef struct log {
  log_level_t level; /* what is below is dropped */
  bool json;
  /* called before and after a message is written, where somebody else has the screen; NULL for nothing */
  void (*hide)(void *screen);
  void (*show)(void *screen);
  void *screen;
} log_t;

typedef struct log_field {
  const char *name, *value;
} log_field_t;

void log_write(const log_t *log, log_level_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* message and values are UTF-8; n fields follow the message. */
void log_fields(const log_t *log, log_level_t level, const char *message, const log_field_t *fields, int n);

const char *log_level_name(log_level_t level);

#endif
