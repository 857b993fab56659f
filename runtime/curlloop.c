#include "curlloop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

enum { UNWATCHED_MAX = 32 };

struct curlloop {
  CURLM *multi;
  uv_loop_t *loop;
  uv_timer_t timer; /* the one time-out curl asks for; its close callback frees all of this */
  curlloop_done_t done;
  bool in_curl;                   /* guards against calling back into curl from its own callbacks */
  CURL *unwatched[UNWATCHED_MAX]; /* transfers that would wait for ever: their socket could not be watched */
  int unwatched_count;
};

/* curl's interest in one socket. Made when curl first names the socket, closed when curl lets go of it. */
typedef struct watch {
  uv_poll_t poll;
  curlloop_t *owner;
  curl_socket_t socket;
} watch_t;

/* Refusing from within on_socket would end all transfers of this multi handle, and without a word: -1 only when there
 * are too many. */
static int leave_unwatched(curlloop_t *c, CURL *easy) {
  for (int i = 0; i < c->unwatched_count; i++)
    if (c->unwatched[i] == easy) return 0;
  if (c->unwatched_count == UNWATCHED_MAX) return -1;
  c->unwatched[c->unwatched_count++] = easy;
  return 0;
}

static void curlloop_act(curlloop_t *c, curl_socket_t socket, int events) {
  int running = 0;
  assert(!c->in_curl);
  c->in_curl = true;
  curl_multi_socket_action(c->multi, socket, events, &running);
  c->in_curl = false;
  while (c->unwatched_count > 0) c->done(c->unwatched[--c->unwatched_count], CURLE_OUT_OF_MEMORY);
  CURLMsg *msg;
  int left;
  while ((msg = curl_multi_info_read(c->multi, &left)))
    /* msg does not outlive the removal of its handle, which done is likely to do */
    if (msg->msg == CURLMSG_DONE) c->done(msg->easy_handle, msg->data.result);
}

static void watch_ready(uv_poll_t *poll, int status, int events) {
  watch_t *w = poll->data;
  int flags = 0;
  if (status < 0) flags = CURL_CSELECT_ERR;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  curlloop_act(w->owner, w->socket, flags);
}

static void watch_closed(uv_handle_t *handle) { free(handle->data); }

static watch_t *watch_new(curlloop_t *c, curl_socket_t socket) {
  watch_t *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  if (uv_poll_init_socket(c->loop, &w->poll, socket) != 0) {
    free(w);
    return NULL;
  }
  w->poll.data = w;
  w->owner = c;
  w->socket = socket;
  return w;
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *user, void *known) {
  curlloop_t *c = user;
  watch_t *w = known;
  if (what == CURL_POLL_REMOVE) {
    if (!w) return 0;
    curl_multi_assign(c->multi, socket, NULL);
    uv_close((uv_handle_t *)&w->poll, watch_closed);
    return 0;
  }
  if (!w) {
    w = watch_new(c, socket);
    if (!w) return leave_unwatched(c, easy);
    curl_multi_assign(c->multi, socket, w);
  }
  int events = 0;
  if (what & CURL_POLL_IN) events |= UV_READABLE;
  if (what & CURL_POLL_OUT) events |= UV_WRITABLE;
  return uv_poll_start(&w->poll, events, watch_ready) == 0 ? 0 : leave_unwatched(c, easy);
}

static void on_timeout(uv_timer_t *timer) { curlloop_act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static int on_timer(CURLM *multi, long milliseconds, void *user) {
  curlloop_t *c = user;
  if (milliseconds < 0)
    uv_timer_stop(&c->timer);
  else if (!uv_is_closing((uv_handle_t *)&c->timer))
    uv_timer_start(&c->timer, on_timeout, (uint64_t)milliseconds, 0);
  return 0;
}

/* libcurl's global state is reference-counted by curl itself; once for the process is enough. */
static bool curl_ready(void) {
  static bool ready;
  if (ready) return true;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return false;
  signal(SIGPIPE, SIG_IGN);
  ready = true;
  return true;
}

curlloop_t *curlloop_new(uv_loop_t *loop, curlloop_done_t done) {
  if (!curl_ready()) return NULL;
  curlloop_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->multi = curl_multi_init();
  if (!c->multi || uv_timer_init(loop, &c->timer) != 0) {
    if (c->multi) curl_multi_cleanup(c->multi);
    free(c);
    return NULL;
  }
  c->loop = loop;
  c->done = done;
  c->timer.data = c;
  curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
  curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
  /* the default is four for each transfer under way, which closes kept connections after a burst */
  curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 32L);
  return c;
}

bool curlloop_add(curlloop_t *c, CURL *easy) { return curl_multi_add_handle(c->multi, easy) == CURLM_OK; }

void curlloop_remove(curlloop_t *c, CURL *easy) {
  assert(!c->in_curl);
  for (int i = 0; i < c->unwatched_count; i++)
    if (c->unwatched[i] == easy) c->unwatched[i--] = c->unwatched[--c->unwatched_count];
  curl_multi_remove_handle(c->multi, easy);
}

static void curlloop_closed(uv_handle_t *handle) { free(handle->data); }

void curlloop_free(curlloop_t *c) {
  assert(!c->in_curl);
  curl_multi_cleanup(c->multi); /* says CURL_POLL_REMOVE for each socket still watched */
  uv_close((uv_handle_t *)&c->timer, curlloop_closed);
}
