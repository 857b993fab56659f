/* http_get.c - the bare loop that http.request is measured against: GET on one kept connection through libcurl's easy
 * interface alone, blocking.
 *
 *     http_get SOCKET PATH COUNT      prints microseconds a request */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t drop(char *data, size_t one, size_t size, void *user) { return size; }

static void get(CURL *easy) {
  CURLcode rc = curl_easy_perform(easy);
  if (rc == CURLE_OK) return;
  fprintf(stderr, "%s\n", curl_easy_strerror(rc));
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  char url[400];
  snprintf(url, sizeof url, "http://bench%s", argv[2]);
  long count = strtol(argv[3], NULL, 10);
  CURL *easy = curl_easy_init();
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, argv[1]);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
  get(easy); /* connects */
  double start = now();
  for (long i = 0; i < count; i++) get(easy);
  printf("%.3f\n", (now() - start) / (double)count * 1e6);
  curl_easy_cleanup(easy);
  return 0;
}
