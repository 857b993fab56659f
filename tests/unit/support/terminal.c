#include "terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pty.h>
#include <unistd.h>

void terminal_open(terminal_t *t, const struct winsize *size) {
  assert_int_equal(openpty(&t->master, &t->slave, t->device, NULL, size), 0);
  assert_int_equal(uv_loop_init(&t->loop), 0);
}

void terminal_close(terminal_t *t) {
  uv_run(&t->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&t->loop), 0);
  close(t->slave);
  close(t->master);
}

void terminal_type(int fd, const char *text) {
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

const char *terminal_seen(int fd, const char *end) {
  static char text[4096];
  size_t size = 0;
  text[0] = 0;
  while (size < strlen(end) || strcmp(text + size - strlen(end), end) != 0) {
    ssize_t n = read(fd, text + size, sizeof text - 1 - size);
    if (n <= 0) fail_msg("the terminal shows '%s' and ended", text);
    size += (size_t)n;
    text[size] = 0;
  }
  return text;
}
