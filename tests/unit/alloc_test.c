/* Memory that does not suffice, at each place in turn: the N-th request is refused, for each N until a run needs fewer.
 * Lua's own memory is refused by its allocator; that of the C code here by wrapping malloc and its like when linking
 * (CMakeLists.txt), in the loop's thread only. What the libraries ask for themselves is not reached.
 *
 * Whatever is refused: no crash, no leak, no handle left open, and an error that says "not enough memory". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include <lauxlib.h>

#include "bindings/error.h"
#include "bindings/register.h"
#include "runtime/host.h"
#include "support/fake.h"
#include "support/pg_peer.h"

/* --- the refusal ----------------------------------------------------------------------------------------- */

typedef enum source { FROM_LUA, FROM_C } source_t;

/* Refuses requests number `from` to `to` of one source, while armed. */
static _Thread_local struct {
  bool armed;
  source_t source;
  long count, from, to;
  long refused;
} refusal;

static bool refuses(source_t source) {
  if (!refusal.armed || source != refusal.source) return false;
  refusal.count++;
  if (refusal.count < refusal.from || refusal.count > refusal.to) return false;
  refusal.refused++;
  return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) { return refuses(FROM_C) ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return refuses(FROM_C) ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { return refuses(FROM_C) ? NULL : __real_realloc(old, size); }
char *__wrap_strdup(const char *text) { return refuses(FROM_C) ? NULL : __real_strdup(text); }

static void *lua_memory(void *data, void *old, size_t old_size, size_t size) {
  if (size == 0) {
    free(old);
    return NULL;
  }
  /* Lua takes for granted that memory can be given back */
  if (refuses(FROM_LUA) && (!old || size > old_size)) return NULL;
  return __real_realloc(old, size);
}

/* --- one run --------------------------------------------------------------------------------------------- */

static host_options_t host_options(void) {
  return (host_options_t){.log = {.level = LOG_ERROR},
                          .allocate = lua_memory,
                          .lua_path = "",
                          .open = bindings_register,
                          .error_handler = error_handler,
                          .raise_interrupt = error_raise_interrupt};
}

/* Is it Lua's own error, or a structured one of kind "memory", or one whose cause is such? */
static bool tells_of_memory(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TSTRING) return strstr(lua_tostring(L, index), "not enough memory") != NULL;
  if (!lua_istable(L, index)) return false;
  luaL_checkstack(L, 4, NULL);
  lua_getfield(L, index, "kind");
  bool told = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "memory") == 0;
  lua_getfield(L, index, "message"); /* one that Lua raised, made structured */
  told = told || (lua_type(L, -1) == LUA_TSTRING && strstr(lua_tostring(L, -1), "not enough memory") != NULL);
  lua_pop(L, 2);
  return told;
}

/* Runs the script, refusing from its first instruction on. Returns whether it reached its end; then it returned 7. */
static bool runs(const char *code, const char *argument) {
  host_t host;
  const host_options_t options = host_options();
  assert_int_equal(host_init(&host, &options), 0);
  assert_int_equal(luaL_loadstring(host.L, code), LUA_OK);
  lua_pushstring(host.L, argument);
  refusal.count = refusal.refused = 0;
  refusal.armed = true;
  int results = 0, status = host_run(&host, 1, 20, &results);
  refusal.armed = false;
  if (status == LUA_OK) {
    assert_int_equal(lua_tointeger(host.L, -results), 7);
  } else if (!tells_of_memory(host.L, -1)) {
    fail_msg("request %ld of %s: %s", refusal.from, refusal.source == FROM_LUA ? "Lua" : "C",
             luaL_tolstring(host.L, -1, NULL));
  }
  assert_int_equal(host_close(&host), 0);
  return status == LUA_OK;
}

/* Each request in turn, and with it `more` ones (Lua asks again after it has collected garbage). */
static void refuse_each(source_t source, long more, const char *code, const char *argument) {
  long from = 0;
  do {
    from++;
    assert_true(from < 20000);
    refusal.source = source;
    refusal.from = from;
    refusal.to = more < 0 ? LONG_MAX : from + more;
    runs(code, argument);
  } while (refusal.refused > 0);
  assert_true(from > 1); /* or nothing was tried */
}

static void refuse_all(const char *code, const char *argument) {
  refusal.from = LONG_MAX;
  refusal.to = LONG_MAX;
  assert_true(runs(code, argument)); /* as it is */
  refuse_each(FROM_LUA, 1, code, argument);
  refuse_each(FROM_LUA, -1, code, argument);
  refuse_each(FROM_C, 0, code, argument);
  refuse_each(FROM_C, -1, code, argument);
}

/* --- what is tried --------------------------------------------------------------------------------------- */

static void starting(void **state) {
  const host_options_t options = host_options();
  int status = 0;
  for (long n = 1; n == 1 || status != 0; n += n < 300 ? 1 : 17) {
    host_t host;
    refusal.source = FROM_LUA;
    refusal.from = n;
    refusal.to = LONG_MAX;
    refusal.count = 0;
    refusal.armed = true;
    status = host_init(&host, &options);
    refusal.armed = false;
    if (status == 0)
      assert_int_equal(host_close(&host), 0);
    else
      assert_int_equal(status, UV_ENOMEM);
  }
}

static void tasks_and_timers(void **state) {
  refuse_all("local task = require 'pgafrun.task'\n"
             "local sum = 0\n"
             "do\n"
             "  local g <close> = task.group { deadline = 10 }\n"
             "  for i = 1, 5 do g:spawn(function() task.sleep(i / 1e4) sum = sum + 1 end) end\n"
             "  g:spawn_named('named', task.timeout, 5, task.yield)\n"
             "  sum = sum + g:spawn(function(a) return a end, 1):wait()\n"
             "end\n"
             "task.shield(1, function() sum = sum + 1 end)\n"
             "return sum\n",
             NULL);
}

static void errors(void **state) {
  refuse_all("local error, task = require 'pgafrun.error', require 'pgafrun.task'\n"
             "local ok, e = pcall(function()\n"
             "  local g <close> = task.group()\n"
             "  g:spawn(function() task.sleep(10) end)\n"
             "  g:spawn(function() task.yield() error.raise { kind = 'network', message = 'gone' } end)\n"
             "  task.sleep(10)\n"
             "end)\n"
             "if ok then return 1 end\n"
             "if not error.is(e, 'network') then _G.error(e, 0) end\n"
             "return #tostring(e) > 0 and 7\n",
             NULL);
}

static void formats(void **state) {
  refuse_all("local json, yaml = require 'pgafrun.json', require 'pgafrun.yaml'\n"
             "local text = json.encode { list = { 1, 2.5, 'three', true }, nested = { a = { b = {} } } }\n"
             "local value = json.decode(text)\n"
             "local seen = yaml.decode('a: &x [1, two, {three: 3}]\\nb: *x\\nc: |\\n  text\\n')\n"
             "return #value.list + #seen.b\n",
             NULL);
}

static void answer_http(peer_t *peer, int number, void *arg) {
  while (peer_request(peer))
    if (!peer_say(peer, "HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 7\r\n\r\nanswer!")) return;
}

static void requests(void **state) {
  fake_t *fake = fake_unix(answer_http, NULL);
  refuse_all(
      "local http = require 'pgafrun.http'\n"
      "local r = http.request { url = 'http://fake/x', unix_socket = ... , headers = { ['X-A'] = 'b' } }\n"
      "return r.status == 200 and #r.body\n",
      fake_path(fake));
  fake_stop(fake);
}

static void connections(void **state) {
  char path[64];
  snprintf(path, sizeof path, "/tmp/pgafrun-alloc-%d.sock", (int)getpid());
  refuse_all("local net, task = require 'pgafrun.net', require 'pgafrun.task'\n"
             "local listener <close> = net.listen(...)\n"
             "local g <close> = task.group { name = 'echo' }\n"
             "g:spawn(function() local far <close> = listener:accept() far:write(far:read()) end)\n"
             "local near <close> = net.connect(...)\n"
             "near:write('1234567')\n"
             "return #near:read() > 0 and #task.tree() > 0 and #task.handles() > 0 and 7\n",
             path);
}

static void interludes(void **state) {
  refuse_all(
      "local task = require 'pgafrun.task'\n"
      "local sum = 3\n"
      "local function add() task.yield() sum = sum + 2 end\n"
      "local function pause() local ok, e = task.interlude('pause', add) if not ok then error(e, 0) end end\n"
      "pause()\n"
      "table.sort({ 2, 1 }, function(a, b) if sum < 7 then pause() end return a < b end)\n"
      "task.service('beside', task.sleep, 10)\n"
      "return sum\n",
      NULL);
}

static void answer_queries(peer_t *peer, int number, void *arg) {
  if (!pg_peer_welcome(peer)) return;
  while (pg_peer_read_until(peer, 'S')) {
    pg_script_t s = {.size = 0};
    pg_say_one(&s, "7");
    pg_say_ready(&s);
    if (!pg_send(peer, &s)) return;
  }
}

static void queries(void **state) {
  fake_t *fake = fake_tcp(answer_queries, NULL);
  char port[16];
  snprintf(port, sizeof port, "%d", fake_port(fake));
  refuse_all("local pg = require 'pgafrun.pg'\n"
             "local c <close> = pg.connect { host = '127.0.0.1', port = ..., user = 'u', dbname = 'd',\n"
             "  sslmode = 'disable' }\n"
             "local r = c:query('select $1', { 1 })\n"
             "return r.rows[1].n\n",
             port);
  fake_stop(fake);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(starting),    cmocka_unit_test(tasks_and_timers), cmocka_unit_test(errors),
      cmocka_unit_test(formats),     cmocka_unit_test(requests),         cmocka_unit_test(queries),
      cmocka_unit_test(connections), cmocka_unit_test(interludes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
