/* curlloop.h - one libcurl multi handle driven by the event loop: curl tells which sockets and which time
 * it waits for, libuv does the waiting.
 *
 * curl's own callbacks never leave this file. A finished transfer is reported from the outermost frame, after
 * curl has returned, so a done callback may add, remove and clean up easy handles as it likes. */
#ifndef PGAFRUN_CURLLOOP_H
#define PGAFRUN_CURLLOOP_H

#include <stdbool.h>

#include <curl/curl.h>
#include <uv.h>

typedef struct curlloop curlloop_t;

/* easy is still in the multi handle; CURLINFO_PRIVATE leads to its owner. */
typedef void (*curlloop_done_t)(CURL *easy, CURLcode result);

/* NULL: no memory. Sets up libcurl itself at the first call in the process, which also ignores SIGPIPE: OpenSSL writes
 * to sockets without MSG_NOSIGNAL. */
curlloop_t *curlloop_new(uv_loop_t *loop, curlloop_done_t done);

/* Starts a transfer; the work begins on the loop's next turn. False: curl refused (no memory). */
bool curlloop_add(curlloop_t *c, CURL *easy);

/* Stops a transfer at once, finished or not. Not to be called from inside a curl callback. */
void curlloop_remove(curlloop_t *c, CURL *easy);

/* Closes the idle connections; all easy handles must have been removed. Its libuv handles close on the
 * loop's next turn, c is gone for the caller at once. */
void curlloop_free(curlloop_t *c);

#endif
