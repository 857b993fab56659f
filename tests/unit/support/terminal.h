/* terminal.h - what a person does at a pseudo-terminal: types, and looks. */
#ifndef PGAFRUN_TEST_TERMINAL_H
#define PGAFRUN_TEST_TERMINAL_H

void terminal_type(int fd, const char *text);
/* What the terminal shows, until it ends with `end`; fails the test when it ended first. Kept until the next call. */
const char *terminal_seen(int fd, const char *end);

#endif
