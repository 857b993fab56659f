/* options.h - the command line of pgafrun itself; what follows the script's name is the script's. */
#ifndef PGAFRUN_OPTIONS_H
#define PGAFRUN_OPTIONS_H

#include <stdbool.h>

#include "runtime/log.h"

enum { EXIT_USAGE = 64 };

typedef struct options {
  const char *script;    /* path or name, NULL with code */
  const char *code;      /* -e */
  const char *inventory; /* -i, may be NULL */
  char **arguments;      /* the script's own */
  int argument_count;
  int verbosity; /* -2 (-qq) .. 2 (-vv) */
  log_t log;
  double deadline;   /* seconds */
  bool has_deadline; /* it was asked for */
  bool help, version;
  bool break_on_failure, attachable;
} options_t;

/* 0, or EXIT_USAGE after one line on stderr. */
int options_parse(options_t *options, int argc, char **argv);

void options_print_help(void);

#endif
