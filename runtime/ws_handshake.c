#include "ws_handshake.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* --- the request --- */

bool ws_http_url(bytes_t *out, const char *url) {
  /* "ws" and "wss" become "http" and "https"; the rest is the same */
  return bytes_printf(out, "http%s", url + 2) && bytes_append(out, "", 1);
}

static bool make_key(char *key, char *accept) {
  unsigned char random[16], digest[EVP_MAX_MD_SIZE];
  char text[64];
  if (RAND_bytes(random, sizeof random) != 1) return false;
  EVP_EncodeBlock((unsigned char *)key, random, sizeof random);
  int n =
      snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key); /* RFC 6455 section 1.3 */
  if (!EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha1(), NULL)) return false;
  EVP_EncodeBlock((unsigned char *)accept, digest, 20);
  return true;
}

typedef struct url_parts {
  char *host, *port, *path, *query, *user;
} url_parts_t;

static bool url_split(url_parts_t *p, const char *url) {
  CURLU *u = curl_url();
  memset(p, 0, sizeof *p);
  bool ok = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_HOST, &p->host, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_PATH, &p->path, 0) == CURLUE_OK;
  if (ok) {
    curl_url_get(u, CURLUPART_PORT, &p->port, 0);
    curl_url_get(u, CURLUPART_QUERY, &p->query, 0);
    curl_url_get(u, CURLUPART_USER, &p->user, 0);
  }
  curl_url_cleanup(u);
  return ok;
}

static void url_parts_free(url_parts_t *p) {
  curl_free(p->host);
  curl_free(p->port);
  curl_free(p->path);
  curl_free(p->query);
  curl_free(p->user);
}

static bool write_request(bytes_t *out, const url_parts_t *p, const char *key, const http_header_t *headers,
                          size_t header_count) {
  bool ok = bytes_printf(out, "GET %s%s%s HTTP/1.1\r\nHost: %s%s%s\r\n", p->path, p->query ? "?" : "",
                         p->query ? p->query : "", p->host, p->port ? ":" : "", p->port ? p->port : "") &&
            bytes_printf(out,
                         "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: %s\r\n",
                         key);
  for (size_t i = 0; ok && i < header_count; i++)
    ok = bytes_printf(out, "%s: %s\r\n", headers[i].name, headers[i].value);
  return ok && bytes_append(out, "\r\n", 2);
}

/* What libcurl lets pass in a URL but would break the request line apart. */
static bool is_one_word(const char *s) {
  for (; s && *s; s++)
    if ((unsigned char)*s <= ' ' || *s == 127) return false;
  return true;
}

bool ws_request(bytes_t *out, char *accept, const char *http_url, const http_header_t *headers,
                size_t header_count, failure_t *f) {
  url_parts_t p;
  char key[32];
  bool ok = false;
  if (!url_split(&p, http_url) || !is_one_word(p.path) || !is_one_word(p.query))
    failure_set(f, "data", "bad url", "the websocket's url is malformed");
  else if (p.user)
    failure_set(f, "data", "bad url",
                "a user name in a websocket's url is not supported: use an Authorization header");
  else if (!make_key(key, accept) || !write_request(out, &p, key, headers, header_count))
    failure_set(f, "memory", NULL, "no memory for the websocket's handshake");
  else
    ok = true;
  url_parts_free(&p);
  return ok;
}

/* --- the reply --- */

typedef struct slice {
  const char *at;
  size_t size;
} slice_t;

/* The value of the first header called name, without the spaces around it; at is NULL when there is none. */
static slice_t find_header(slice_t head, const char *name) {
  size_t name_size = strlen(name);
  const char *end = head.at + head.size;
  for (const char *line = head.at; line < end;) {
    const char *eol = memmem(line, (size_t)(end - line), "\r\n", 2);
    if (!eol) eol = end;
    if ((size_t)(eol - line) > name_size && line[name_size] == ':' &&
        strncasecmp(line, name, name_size) == 0) {
      const char *value = line + name_size + 1;
      while (value < eol && isspace((unsigned char)*value)) value++;
      while (eol > value && isspace((unsigned char)eol[-1])) eol--;
      return (slice_t){value, (size_t)(eol - value)};
    }
    line = eol + 2;
  }
  return (slice_t){NULL, 0};
}

static bool slice_is(slice_t s, const char *word) {
  return s.at && s.size == strlen(word) && strncasecmp(s.at, word, s.size) == 0;
}

/* Whether a comma-separated list has word. */
static bool slice_has(slice_t s, const char *word) {
  if (!s.at) return false;
  const char *at = s.at, *end = s.at + s.size;
  while (at < end) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *stop = comma ? comma : end;
    while (at < stop && isspace((unsigned char)*at)) at++;
    const char *last = stop;
    while (last > at && isspace((unsigned char)last[-1])) last--;
    if (slice_is((slice_t){at, (size_t)(last - at)}, word)) return true;
    at = stop + 1;
  }
  return false;
}

/* Takes the chunks of body apart, in place of out. True when the last chunk has come. */
static bool unchunk(slice_t body, bytes_t *out) {
  const char *at = body.at, *end = body.at + body.size;
  for (;;) {
    const char *eol = memmem(at, (size_t)(end - at), "\r\n", 2);
    if (!eol) return false;
    char digits[9] = "";
    memcpy(digits, at, (size_t)(eol - at) < 8 ? (size_t)(eol - at) : 8);
    unsigned long size = strtoul(digits, NULL, 16);
    if (size == 0) return true;
    at = eol + 2;
    size_t here = (size_t)(end - at) < size ? (size_t)(end - at) : size;
    if (!bytes_append(out, at, here) || here < size || end - at < (ptrdiff_t)size + 2) return false;
    at += size + 2;
  }
}

/* Whether all of a refusal's body is there; text gets it. */
static bool read_body(slice_t head, slice_t body, bytes_t *text) {
  if (slice_has(find_header(head, "Transfer-Encoding"), "chunked")) return unchunk(body, text);
  bytes_append(text, body.at, body.size);
  slice_t length = find_header(head, "Content-Length");
  if (!length.at) return false; /* until the connection ends */
  char digits[20] = "";
  memcpy(digits, length.at, length.size < sizeof digits - 1 ? length.size : sizeof digits - 1);
  return body.size >= strtoul(digits, NULL, 10);
}

/* One line for people: control characters and runs of spaces are one space each. */
static void put_line(char *out, size_t room, const char *data, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size && n + 1 < room; i++) {
    unsigned char c = (unsigned char)data[i];
    if (c > ' ' && c != 127)
      out[n++] = (char)c;
    else if (n && out[n - 1] != ' ')
      out[n++] = ' ';
  }
  while (n && out[n - 1] == ' ') n--;
  out[n] = 0;
}

static ws_reply_t refused(slice_t head, slice_t body, int status, bool over, const char *what, failure_t *f) {
  enum { ENOUGH = 2048 };
  bytes_t text = {0};
  bool complete = read_body(head, body, &text);
  if (!complete && !over && body.size < ENOUGH) {
    bytes_free(&text);
    return WS_REPLY_MORE;
  }
  char code[16], reason[60], line[300];
  const char *eol = memmem(head.at, head.size, "\r\n", 2);
  put_line(reason, sizeof reason, head.at + 9, (size_t)((eol ? eol : head.at + head.size) - head.at) - 9);
  put_line(line, sizeof line, text.data, text.size);
  bytes_free(&text);
  snprintf(code, sizeof code, "%d", status);
  failure_set(f, "protocol", code, "%s: the server refused the websocket: %s%s%s", what, reason,
              *line ? ": " : "", line);
  f->retryable = status == 503;
  return WS_REPLY_FAILED;
}

static ws_reply_t broken(failure_t *f, const char *what, const char *why) {
  failure_set(f, "protocol", "bad handshake", "%s: %s", what, why);
  return WS_REPLY_FAILED;
}

static ws_reply_t accepted(slice_t head, const char *accept, const char *what, failure_t *f) {
  slice_t answer = find_header(head, "Sec-WebSocket-Accept");
  if (!slice_is(find_header(head, "Upgrade"), "websocket") ||
      !slice_has(find_header(head, "Connection"), "upgrade"))
    return broken(f, what, "the server switched to something that is not a websocket");
  if (!answer.at || answer.size != strlen(accept) || memcmp(answer.at, accept, answer.size) != 0)
    return broken(f, what, "the server's answer belongs to another handshake (Sec-WebSocket-Accept)");
  if (find_header(head, "Sec-WebSocket-Extensions").at || find_header(head, "Sec-WebSocket-Protocol").at)
    return broken(f, what, "the server uses an extension that was not asked for");
  return WS_REPLY_OPEN;
}

ws_reply_t ws_reply(const char *data, size_t size, bool over, const char *accept, const char *what,
                    size_t *used, failure_t *f) {
  static const char start[] = "HTTP/1.";
  size_t known = size < sizeof start - 1 ? size : sizeof start - 1;
  if (known && memcmp(data, start, known) != 0) return broken(f, what, "the answer is not HTTP");
  const char *end = size ? memmem(data, size, "\r\n\r\n", 4) : NULL;
  if (!end) {
    if (size >= WS_REPLY_MAX) return broken(f, what, "the header of the answer has no end");
    if (!over) return WS_REPLY_MORE;
    failure_set(f, "network", "eof", "%s: the connection ended during the handshake", what);
    f->retryable = true;
    return WS_REPLY_FAILED;
  }
  slice_t head = {data, (size_t)(end - data)};
  const char *digits = data + 9; /* after "HTTP/1.1 " */
  if (head.size < 12 || data[8] != ' ' || !isdigit((unsigned char)digits[0]) ||
      !isdigit((unsigned char)digits[1]) || !isdigit((unsigned char)digits[2]))
    return broken(f, what, "the answer is not HTTP");
  int status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
  *used = head.size + 4;
  if (status != 101) return refused(head, (slice_t){end + 4, size - *used}, status, over, what, f);
  return accepted(head, accept, what, f);
}
