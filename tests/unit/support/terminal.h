/* terminal.h - what a person does at a pseudo-terminal: types, and looks. */
#ifndef PGAFRUN_TEST_TERMINAL_H
#define PGAFRUN_TEST_TERMINAL_H

#include <uv.h>

struct winsize;

/* A loop, and a pseudo-terminal for who reads and writes on it. */
typedef struct terminal {
  uv_loop_t loop;
  int master; /* the side of who types and looks */
  int slave;
  char device[64];
} terminal_t;

void terminal_open(terminal_t *t, const struct winsize *size); /* NULL: no size is set */
void terminal_close(terminal_t *t); /* fails the test when a handle is still open */

void terminal_type(int fd, const char *text);
/* What the terminal shows, until it ends with `end`; fails the test when it ended first. Kept until the next call. */
const char *terminal_seen(int fd, const char *end);

#endif
