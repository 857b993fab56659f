#include "curlfail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <uv.h>

/* A query parameter with one of these names is an authenticator (incus: /operations/ID/websocket?secret=). */
static bool is_secret(const char *name, size_t size) {
  static const char *const names[] = {"secret", "password", "token"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strlen(names[i]) == size && strncasecmp(names[i], name, size) == 0) return true;
  return false;
}

typedef struct text {
  char *at, *end;
} text_t;

static void put(text_t *t, const char *s, size_t n) {
  size_t room = (size_t)(t->end - t->at);
  if (n > room) n = room;
  memcpy(t->at, s, n);
  t->at += n;
}

static void put_query(text_t *t, const char *s) {
  while (*s) {
    size_t size = strcspn(s, "&#");
    const char *equals = memchr(s, '=', size);
    if (equals && is_secret(s, (size_t)(equals - s))) {
      put(t, s, (size_t)(equals - s) + 1);
      put(t, "***", 3);
    } else {
      put(t, s, size);
    }
    s += size;
    if (!*s) return;
    put(t, s, 1);
    s++;
  }
}

void curlfail_url(char *out, size_t size, const char *url) {
  text_t t = {out, out + size - 1};
  const char *scheme = strstr(url, "://");
  if (scheme) {
    put(&t, url, (size_t)(scheme + 3 - url));
    url = scheme + 3;
    size_t authority = strcspn(url, "/?#");
    for (size_t i = authority; i > 0; i--)
      if (url[i - 1] == '@') {
        authority -= i;
        url += i;
        break;
      }
    put(&t, url, authority);
    url += authority;
  }
  size_t path = strcspn(url, "?");
  if (url[path]) path++;
  put(&t, url, path);
  put_query(&t, url + path);
  *t.at = 0;
}

static const char *kind_of(CURLcode result) {
  switch (result) {
  case CURLE_OPERATION_TIMEDOUT: return "timeout";
  case CURLE_OUT_OF_MEMORY: return "memory";
  case CURLE_URL_MALFORMAT: return "data";
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_SSL_CLIENTCERT:
  case CURLE_USE_SSL_FAILED: return "tls";
  case CURLE_COULDNT_RESOLVE_PROXY:
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_CONNECT:
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_FAIL_REWIND:
  case CURLE_PARTIAL_FILE: return "network";
  case CURLE_UNSUPPORTED_PROTOCOL: /* also: the answer is no HTTP at all */
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_HTTP2:
  case CURLE_HTTP2_STREAM:
  case CURLE_BAD_CONTENT_ENCODING:
  case CURLE_PROXY: return "protocol";
  default: return "system";
  }
}

/* What to do about it, for the errors of a connection that an operator can cure. */
static const char *advice(int os_error) {
  switch (os_error) {
  case EACCES: return "; this user may not open the socket: check the groups it is in";
  case ECONNREFUSED: return "; nothing is listening there: is the daemon running?";
  case ENOENT: return "; there is no such socket: is the daemon running, and is the path right?";
  default: return "";
  }
}

/* curl remembers the errno of any failed system call of the transfer: also of an address that was tried in vain
 * before another one answered. Only these can belong to a connection that stood. */
static int os_error_of(CURL *easy, CURLcode result) {
  long os_error = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
  if (result == CURLE_COULDNT_CONNECT) return (int)os_error;
  switch (os_error) {
  case ECONNRESET:
  case EPIPE:
  case ECONNABORTED:
  case ENOTCONN:
  case ETIMEDOUT: return (int)os_error;
  default: return 0;
  }
}

/* kind_of, with what the connection tells beside the result. */
static const char *kind_in_context(CURL *easy, CURLcode result, int os_error, bool got_reply) {
  char *scheme = NULL;
  curl_easy_getinfo(easy, CURLINFO_SCHEME, &scheme);
  bool tls = scheme && strcasecmp(scheme, "https") == 0;
  if (result == CURLE_SSL_CONNECT_ERROR && os_error) return "network";
  if (result == CURLE_RECV_ERROR && !os_error) {
    /* The operating system knows of no error, so it is in what was received: with plain HTTP a malformed chunk; with
     * TLS 1.3, before any answer, the server's refusal of the client's certificate, which comes after the handshake. */
    if (!tls) return "protocol";
    if (!got_reply) return "tls";
  }
  return kind_of(result);
}

static bool is_distrust(CURLcode result) {
  return result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
}

void curlfail_set(failure_t *f, CURL *easy, CURLcode result, const char *what, const char *detail,
                  const char *distrust, bool got_reply) {
  int os_error = os_error_of(easy, result);
  const char *kind = kind_in_context(easy, result, os_error, got_reply);
  char code[40], reason[CURL_ERROR_SIZE + 128];
  if (os_error && strcmp(kind, "network") == 0)
    uv_err_name_r(uv_translate_sys_error(os_error), code, sizeof code);
  else
    snprintf(code, sizeof code, "curl %d", (int)result);
  if (os_error && result == CURLE_COULDNT_CONNECT)
    snprintf(reason, sizeof reason, "%s%s", strerror(os_error), advice(os_error));
  else
    snprintf(reason, sizeof reason, "%s%s", detail && *detail ? detail : curl_easy_strerror(result),
             is_distrust(result) ? distrust : "");
  failure_set(f, kind, code, "%s: %s", what, reason);
  f->retryable = (strcmp(kind, "network") == 0 && os_error != EACCES) || strcmp(kind, "timeout") == 0;
}
