/* pg_pipeline.c - the bare loop that Connection:pipeline is measured against: `select 1` through libpq alone, blocking,
 * in batches with a sync after each statement.
 *
 *     pg_pipeline CONNINFO BATCHES SIZE      prints statements a second */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(PGconn *conn) {
  fprintf(stderr, "%s", PQerrorMessage(conn));
  exit(1);
}

static long read_value(PGconn *conn) {
  PGresult *r = PQgetResult(conn);
  if (PQresultStatus(r) != PGRES_TUPLES_OK) die(conn);
  long value = strtol(PQgetvalue(r, 0, 0), NULL, 10);
  PQclear(r);
  if (PQgetResult(conn)) die(conn);
  r = PQgetResult(conn);
  if (PQresultStatus(r) != PGRES_PIPELINE_SYNC) die(conn);
  PQclear(r);
  return value;
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  long batches = strtol(argv[2], NULL, 10), size = strtol(argv[3], NULL, 10), sum = 0;
  PGconn *conn = PQconnectdb(argv[1]);
  if (PQstatus(conn) != CONNECTION_OK || !PQenterPipelineMode(conn)) die(conn);
  double start = now();
  for (long batch = 0; batch < batches; batch++) {
    for (long i = 0; i < size; i++)
      if (!PQsendQueryParams(conn, "select 1", 0, NULL, NULL, NULL, NULL, 0) || !PQpipelineSync(conn))
        die(conn);
    for (long i = 0; i < size; i++) sum += read_value(conn);
  }
  double took = now() - start;
  PQfinish(conn);
  if (sum != batches * size) return 1;
  printf("%.0f\n", (double)sum / took);
  return 0;
}
