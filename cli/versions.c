/* versions.c - --version: what this program was made of and what it runs with. */
#include "versions.h"

#include <stdio.h>

#include <curl/curl.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <uv.h>
#include <wslay/wslay.h>
#include <yaml.h>

void versions_print(void) {
  int pq = PQlibVersion(), major, minor, patch;
  yaml_get_version(&major, &minor, &patch);
  printf("pgafrun %s\n", PGAFRUN_VERSION);
  printf("%s\n", LUA_RELEASE);
  printf("libuv %s\n", uv_version_string());
  printf("libcurl %s\n", curl_version_info(CURLVERSION_NOW)->version);
  printf("libpq %d.%d\n", pq / 10000, pq % 10000);
  printf("jansson %s\n", JANSSON_VERSION);
  printf("wslay %s\n", WSLAY_VERSION);
  printf("libyaml %d.%d.%d\n", major, minor, patch);
  printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
}
