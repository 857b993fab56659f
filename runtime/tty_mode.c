#include "tty_mode.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tty.h"

static bool claimed;
static struct termios before;              /* what the terminal was like */
static const char *leaving;                /* what its user wants written first */
static volatile sig_atomic_t changed = -1; /* the descriptor of the terminal whose mode was changed */
static volatile sig_atomic_t errors =
    -1; /* the true standard error, while messages are held back in a file */

bool tty_claim(void) {
  if (claimed) return false;
  claimed = true;
  return true;
}

void tty_unclaim(void) { claimed = false; }

int tty_open(const char *device) {
  return open(device ? device : "/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

bool tty_mode_is_changed(void) { return changed >= 0; }

void tty_put(int fd, const char *text, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, text, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return; /* a terminal that takes nothing now is not worth waiting for */
    text += n;
    size -= (size_t)n;
  }
}

void tty_mode_set(int fd, const struct termios *mode, bool flush, const char *leave) {
  if (changed < 0 && tcgetattr(fd, &before) != 0) return; /* no terminal */
  leaving = leave;
  changed = fd;
  tcsetattr(fd, flush ? TCSAFLUSH : TCSANOW, mode);
}

void tty_hold_errors(void) {
  if (errors >= 0 || !isatty(STDERR_FILENO)) return;
  int file = memfd_create("standard-error", MFD_CLOEXEC);
  int kept = file < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (kept >= 0 && dup2(file, STDERR_FILENO) >= 0) {
    errors = kept;
  } else if (kept >= 0) {
    close(kept);
  }
  if (file >= 0) close(file);
}

static void release_errors(void) {
  int to = errors;
  if (to < 0) return;
  errors = -1;
  char text[512];
  ssize_t n;
  for (off_t at = 0; (n = pread(STDERR_FILENO, text, sizeof text, at)) > 0; at += n)
    tty_put(to, text, (size_t)n);
  dup2(to, STDERR_FILENO);
  close(to);
}

void tty_restore(void) {
  int fd = changed;
  if (fd >= 0) {
    sigset_t set, mask;
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU); /* it would stop us if we are in the background by now */
    pthread_sigmask(SIG_BLOCK, &set, &mask);
    if (leaving) tty_put(fd, leaving, strlen(leaving));
    tcsetattr(fd, TCSANOW, &before);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    changed = -1;
  }
  release_errors();
}
