/* pg_cancel.c - asking the server to cancel a query.
 *
 * Until libpq 17 the only way is PQcancel, which makes a connection of its own and blocks; to a host that was
 * switched off that takes minutes. So each request has a thread of its own (libuv's few are not for waiting),
 * and the loop waits for it only so long: a thread that is still connecting then is left alone and frees what
 * it has when it is through.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "pg_internal.h"

#define CANCEL_WAIT_MS 3000

typedef struct pg_cancel {
  PGcancel *cancel;
  pthread_mutex_t mutex;
  bool abandoned; /* by the loop: the thread frees everything. Guarded by mutex */
  bool finished;  /* by the thread: the loop frees everything. Guarded by mutex */
  uv_async_t *finish;
  uv_timer_t *limit;
} pg_cancel_t;

static void cancel_free(pg_cancel_t *r) {
  pthread_mutex_destroy(&r->mutex);
  PQfreeCancel(r->cancel);
  free(r);
}

static void *cancel_thread(void *data) {
  pg_cancel_t *r = data;
  char reason[256];
  PQcancel(r->cancel, reason, sizeof reason); /* best effort: the connection is being closed in any case */
  pthread_mutex_lock(&r->mutex);
  bool abandoned = r->abandoned;
  r->finished = true;
  if (!abandoned) uv_async_send(r->finish);
  pthread_mutex_unlock(&r->mutex);
  if (abandoned) cancel_free(r);
  return NULL;
}

static void handle_closed(uv_handle_t *handle) { free(handle); }

static void cancel_let_go(pg_cancel_t *r) {
  uv_close((uv_handle_t *)r->limit, handle_closed);
  pthread_mutex_lock(&r->mutex);
  bool finished = r->finished;
  r->abandoned = true;
  uv_close((uv_handle_t *)r->finish, handle_closed);
  pthread_mutex_unlock(&r->mutex);
  if (finished) cancel_free(r); /* else r belongs to the thread, which may have freed it by now */
}

static void on_finish(uv_async_t *finish) { cancel_let_go(finish->data); }
static void on_limit(uv_timer_t *limit) { cancel_let_go(limit->data); }

/* Own stack and no join: the thread may outlive the loop. */
static bool thread_start(pg_cancel_t *r) {
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes)) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  bool started = pthread_create(&thread, &attributes, cancel_thread, r) == 0;
  pthread_attr_destroy(&attributes);
  return started;
}

void pg_cancel_request(uv_loop_t *loop, PGconn *conn) {
  pg_cancel_t *r = calloc(1, sizeof *r);
  if (!r) return;
  pthread_mutex_init(&r->mutex, NULL);
  r->cancel = PQgetCancel(conn);
  r->finish = malloc(sizeof *r->finish);
  r->limit = malloc(sizeof *r->limit);
  if (!r->cancel || !r->finish || !r->limit || uv_async_init(loop, r->finish, on_finish)) {
    free(r->finish);
    free(r->limit);
    cancel_free(r);
    return;
  }
  uv_timer_init(loop, r->limit);
  uv_timer_start(r->limit, on_limit, CANCEL_WAIT_MS, 0);
  r->finish->data = r->limit->data = r;
  if (!thread_start(r)) {
    r->finished = true;
    cancel_let_go(r);
  }
}
