/* rto_client.c - an independent client of a drill: how long nobody could write, measured with libpq alone, blocking. One
 * process writes on the primary until it is gone; the other asks the standby to write until it does.
 *
 *     rto_client PRIMARY-CONNINFO STANDBY-CONNINFO      prints the seconds between the last write and the first */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_US 2000

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int write_row(PGconn *conn) {
  PGresult *r = PQexec(conn, "insert into rto_client default values");
  int ok = PQresultStatus(r) == PGRES_COMMAND_OK;
  PQclear(r);
  return ok;
}

/* The moment of the last write that the primary acknowledged. */
static double last_write(const char *conninfo) {
  PGconn *conn = PQconnectdb(conninfo);
  double last = 0;
  PQclear(PQexec(conn, "create table if not exists rto_client (at timestamptz default clock_timestamp())"));
  while (write_row(conn)) {
    last = now();
    usleep(PAUSE_US);
  }
  PQfinish(conn);
  return last;
}

/* The moment of the first that the standby acknowledged, as the primary that it has become. */
static double first_write(const char *conninfo) {
  PGconn *conn = PQconnectdb(conninfo);
  for (;;) {
    if (PQstatus(conn) != CONNECTION_OK)
      PQreset(conn);
    else if (write_row(conn))
      break;
    usleep(PAUSE_US);
  }
  double first = now();
  PQfinish(conn);
  return first;
}

int main(int argc, char **argv) {
  int ends[2];
  double last = 0;
  if (argc != 3 || pipe(ends) != 0) return 64;
  pid_t writer = fork();
  if (writer == 0) {
    last = last_write(argv[1]);
    _exit(write(ends[1], &last, sizeof last) != sizeof last);
  }
  double first = first_write(argv[2]);
  if (writer < 0 || read(ends[0], &last, sizeof last) != sizeof last || last == 0) return 1;
  waitpid(writer, NULL, 0);
  printf("%.4f\n", first - last);
  return 0;
}
