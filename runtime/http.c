#include "http.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bytes.h"
#include "curlfail.h"
#include "curlloop.h"

/* Idle easy handles are kept: making one costs more than all its options. */
#define IDLE_MAX 8
#define HEADERS_MAX (256 * 1024)

typedef struct request request_t;

struct http {
  curlloop_t *curl;
  CURL *idle[IDLE_MAX];
  int idle_count;
  request_t *first; /* under way */
};

struct request {
  op_t op;
  http_t *http;
  request_t *next, **link; /* in http->first's list */
  CURL *easy;              /* NULL before and after its time in the multi handle */
  struct curl_slist *headers;
  bytes_t body, header;
  size_t max_bytes;
  int sends;       /* how often curl was about to send the request */
  bool resent;     /* curl wanted to send a mutation a second time, and was stopped */
  bool over_limit; /* the body is larger than max_bytes */
  bool over_header;
  bool no_memory;
  http_response_t response;
  const char *distrust; /* see curlfail_set */
  char label[400];      /* method, url, socket: without secrets */
  char detail[CURL_ERROR_SIZE];
};

static void request_cancel(op_t *op);
static void request_destroy(op_t *op);
static const op_class_t request_class = {"http.request", request_cancel, request_destroy};

/* --- what curl calls while it is at work: these only gather --- */

static size_t on_body(char *data, size_t one, size_t size, void *user) {
  request_t *r = user;
  if (size > r->max_bytes - r->body.size) {
    r->over_limit = true;
    return 0;
  }
  if (!r->body.size) {
    /* a length that is told is believed as far as the limit, so that a large body is not copied as it grows */
    curl_off_t told = -1;
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &told);
    if (told > 0 && (uint64_t)told > r->max_bytes) {
      r->over_limit = true;
      return 0;
    }
    if (told > 0 && !bytes_reserve(&r->body, (size_t)told)) r->no_memory = true;
  }
  if (r->no_memory || !bytes_append(&r->body, data, size)) {
    r->no_memory = true;
    return 0;
  }
  return size;
}

static bool add_header(request_t *r, const char *line, size_t size) {
  const char *colon = memchr(line, ':', size);
  if (!colon)
    return true; /* the empty line at the end, or a folded line, which no server may send any more */
  const char *value = colon + 1, *end = line + size;
  while (value < end && isspace((unsigned char)*value)) value++;
  while (end > value && isspace((unsigned char)end[-1])) end--;
  size_t start = r->header.size, name = (size_t)(colon - line);
  if (!bytes_append(&r->header, line, name) || !bytes_append(&r->header, "", 1) ||
      !bytes_append(&r->header, value, (size_t)(end - value)) || !bytes_append(&r->header, "", 1))
    return false;
  for (size_t i = start; i < start + name; i++)
    r->header.data[i] = (char)tolower((unsigned char)r->header.data[i]);
  return true;
}

static size_t on_header(char *line, size_t one, size_t size, void *user) {
  request_t *r = user;
  /* a status line starts the header anew: what came before was an interim answer (100, 103) */
  if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
    r->header.size = 0;
    return size;
  }
  if (memchr(line, 0, size)) size = strlen(line); /* a NUL would break the layout of the pairs */
  if (r->header.size + size > HEADERS_MAX) {
    r->over_header = true;
    return 0;
  }
  if (!add_header(r, line, size)) {
    r->no_memory = true;
    return 0;
  }
  return one * size;
}

/* The connection stands, the request goes out next. curl comes here a second time when it has found the kept connection
 * dead after sending. */
static int on_send(void *user, char *remote, char *local, int remote_port, int local_port) {
  request_t *r = user;
  if (++r->sends > 1 && r->op.mutates) {
    r->resent = true;
    return CURL_PREREQFUNC_ABORT;
  }
  return CURL_PREREQFUNC_OK;
}

/* --- one request's life --- */

static void request_unlink(request_t *r) {
  if (!r->link) return;
  *r->link = r->next;
  if (r->next) r->next->link = r->link;
  r->link = NULL;
}

/* Takes the request out of curl; the handle is kept for the next one if there is room. */
static void request_detach(request_t *r) {
  http_t *h = r->http;
  CURL *easy = r->easy;
  if (!easy) return;
  r->easy = NULL;
  if (r->link) curlloop_remove(h->curl, easy);
  request_unlink(r);
  if (h->idle_count < IDLE_MAX) {
    curl_easy_reset(easy); /* also forgets bodies, keys and headers */
    h->idle[h->idle_count++] = easy;
  } else {
    curl_easy_cleanup(easy);
  }
}

static void request_cancel(op_t *op) {
  request_detach((request_t *)op);
  op_complete(op);
}

static void request_destroy(op_t *op) {
  request_t *r = (request_t *)op;
  curl_slist_free_all(r->headers);
  bytes_free(&r->body);
  bytes_free(&r->header);
  free(r);
}

static void request_fail(request_t *r, CURLcode result) {
  failure_t *f = &r->op.failure;
  long status = 0;
  curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
  if (r->no_memory)
    failure_set(f, "memory", NULL, "%s: no memory for the answer", r->label);
  else if (r->over_limit)
    failure_set(f, "limit", NULL, "%s: the answer's body is larger than the limit of %zu bytes", r->label,
                r->max_bytes);
  else if (r->over_header)
    failure_set(f, "limit", NULL, "%s: the answer's header is larger than %d bytes", r->label, HEADERS_MAX);
  else if (r->resent) {
    failure_set(
        f, "network", "connection lost",
        "%s: the connection broke after the request was sent, before an answer; it was not sent again",
        r->label);
    f->retryable = false;
  } else
    curlfail_set(f, r->easy, result, r->label, r->detail, r->distrust, status != 0);
  if (r->op.mutates && r->sends) {
    f->outcome_unknown = true;
    f->retryable = false;
  }
}

static void request_succeed(request_t *r) {
  long status = 0;
  curl_off_t microseconds = 0;
  curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(r->easy, CURLINFO_TOTAL_TIME_T, &microseconds);
  r->response = (http_response_t){
      .status = (int)status,
      .body = r->body.data,
      .body_size = r->body.size,
      .headers = r->header.data,
      .headers_size = r->header.size,
      .seconds = (double)microseconds / 1e6,
  };
}

static void request_done(CURL *easy, CURLcode result) {
  request_t *r = NULL;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &r);
  if (result == CURLE_OK)
    request_succeed(r);
  else
    request_fail(r, result);
  request_detach(r);
  op_complete(&r->op);
}

/* --- starting --- */

static bool header_is_given(const http_options_t *o, const char *name) {
  for (size_t i = 0; i < o->header_count; i++)
    if (strcasecmp(o->headers[i].name, name) == 0) return true;
  return false;
}

static bool slist_add(struct curl_slist **list, const char *text) {
  struct curl_slist *longer = curl_slist_append(*list, text);
  if (!longer) return false;
  *list = longer;
  return true;
}

static bool set_headers(request_t *r, const http_options_t *o) {
  bytes_t line = {0};
  bool ok = true;
  for (size_t i = 0; ok && i < o->header_count; i++) {
    const http_header_t *h = &o->headers[i];
    line.size = 0;
    /* curl reads "Name:" as "leave it out"; "Name;" is its way to say an empty value */
    ok = (*h->value ? bytes_printf(&line, "%s: %s", h->name, h->value)
                    : bytes_printf(&line, "%s;", h->name)) &&
         bytes_append(&line, "", 1) && slist_add(&r->headers, line.data);
  }
  bytes_free(&line);
  /* no waiting for "100 Continue", and no made-up form type: servers that parse forms swallow such a body */
  if (ok && !header_is_given(o, "Expect")) ok = slist_add(&r->headers, "Expect:");
  if (ok && !header_is_given(o, "Content-Type")) ok = slist_add(&r->headers, "Content-Type:");
  curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
  return ok;
}

static bool method_has_body(const char *method) {
  return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static bool set_method(request_t *r, const http_options_t *o) {
  const char *method = o->method ? o->method : "GET";
  if (strcmp(method, "HEAD") == 0) curl_easy_setopt(r->easy, CURLOPT_NOBODY, 1L);
  if (o->body || method_has_body(method)) {
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_size);
    if (curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, o->body ? o->body : "") != CURLE_OK) return false;
  }
  return curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

static long milliseconds(double seconds) {
  if (seconds > 1e6) return 1000000000L;
  long ms = (long)(seconds * 1000);
  return ms > 0 ? ms : 1; /* 0 would mean "no limit" to curl */
}

static void set_limits(request_t *r, const http_options_t *o) {
  CURL *e = r->easy;
  curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, milliseconds(o->timeout));
  curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(o->connect_timeout));
  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, 20L); /* servers drop idle connections, Incus after 30 s */
  curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else giving up on a name server waits for its thread */
#endif
  curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
                   (long)(o->http1 ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
}

static void set_callbacks(request_t *r) {
  CURL *e = r->easy;
  curl_easy_setopt(e, CURLOPT_PRIVATE, r);
  curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->detail);
  curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
  curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
  curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's own answer is not the server's */
  curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_send);
  curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
}

/* Sets all options; false leaves the reason in the operation. */
static bool request_set_up(request_t *r, const http_options_t *o) {
  failure_t *f = &r->op.failure;
  set_callbacks(r);
  set_limits(r, o);
  bool ok =
      curl_easy_setopt(r->easy, CURLOPT_URL, o->url) == CURLE_OK && set_method(r, o) && set_headers(r, o);
  if (ok && o->unix_socket) {
    ok = curl_easy_setopt(r->easy, CURLOPT_UNIX_SOCKET_PATH, o->unix_socket) == CURLE_OK;
    curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
    /* Connecting again costs next to nothing here, and a mutation on a fresh connection cannot meet a dead one. */
    curl_easy_setopt(r->easy, CURLOPT_FRESH_CONNECT, (long)o->mutates);
    curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, (long)o->mutates);
  }
  if (ok && strncasecmp(o->url, "https:", 6) == 0 && !tls_apply(r->easy, &o->tls, f)) return false;
  if (!ok) failure_set(f, "memory", NULL, "%s: no memory", r->label);
  return ok;
}

static void set_label(request_t *r, const http_options_t *o) {
  char url[300];
  curlfail_url(url, sizeof url, o->url);
  snprintf(r->label, sizeof r->label, "%s %s%s%.80s%s", o->method ? o->method : "GET", url,
           o->unix_socket ? " (unix socket " : "", o->unix_socket ? o->unix_socket : "",
           o->unix_socket ? ")" : "");
}

op_t *http_start(runtime_t *runtime, const http_options_t *o) {
  http_t *h = http_of(runtime);
  request_t *r = h ? calloc(1, sizeof *r) : NULL;
  if (!r) return NULL;
  op_init(&r->op, &request_class);
  r->op.mutates = o->mutates;
  r->http = h;
  r->max_bytes = o->max_bytes;
  r->distrust = tls_distrust(&o->tls);
  set_label(r, o);
  op_submit(&r->op);
  r->easy = h->idle_count ? h->idle[--h->idle_count] : curl_easy_init();
  if (!r->easy) {
    failure_set(&r->op.failure, "memory", NULL, "%s: no memory", r->label);
  } else if (request_set_up(r, o)) {
    if (curlloop_add(h->curl, r->easy)) {
      r->next = h->first;
      r->link = &h->first;
      if (r->next) r->next->link = &r->next;
      h->first = r;
      return &r->op;
    }
    failure_set(&r->op.failure, "memory", NULL, "%s: no memory", r->label);
  }
  request_detach(r);
  op_complete(&r->op);
  return &r->op;
}

const http_response_t *http_response(const op_t *op) {
  assert(op->class == &request_class);
  return &((const request_t *)op)->response;
}

/* --- the runtime's one --- */

http_t *http_of(runtime_t *runtime) {
  if (runtime->http) return runtime->http;
  http_t *h = calloc(1, sizeof *h);
  if (!h) return NULL;
  h->curl = curlloop_new(&runtime->loop, request_done);
  if (!h->curl) {
    free(h);
    return NULL;
  }
  runtime->http = h;
  return h;
}

void http_free(runtime_t *runtime) {
  http_t *h = runtime->http;
  if (!h) return;
  runtime->http = NULL;
  while (h->first) {
    request_t *r = h->first;
    failure_set(&r->op.failure, "closed", NULL, "%s: the program is ending", r->label);
    r->op.failure.outcome_unknown = r->op.mutates && r->sends;
    request_detach(r);
    op_complete(&r->op);
  }
  for (int i = 0; i < h->idle_count; i++) curl_easy_cleanup(h->idle[i]);
  curlloop_free(h->curl);
  free(h);
}
