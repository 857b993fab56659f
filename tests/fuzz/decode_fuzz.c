/* decode_fuzz.c - what other people wrote: JSON and YAML texts. Whatever they are, decoding gives a value or a structured
 * error of kind "data", and a JSON value that was decoded encodes to a text that decodes to the same.
 *
 * The first byte of the input chooses the language. Built and run by tests/fuzz/run.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "bindings/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(lua_State *L, const char *what) {
  fprintf(stderr, "%s: %s\n", what, luaL_tolstring(L, -1, NULL));
  abort();
}

static lua_State *open_lua(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "pgafrun.json", luaopen_pgafrun_json, 0);
  luaL_requiref(L, "pgafrun.yaml", luaopen_pgafrun_yaml, 0);
  lua_settop(L, 2);
  return L;
}

/* Calls function number `name` of the module at index with the text on top. False when it was refused as it should be. */
static bool call(lua_State *L, int module, const char *name, const char *kind) {
  lua_getfield(L, module, name);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return true;
  if (!lua_istable(L, -1)) fail(L, "not a structured error");
  lua_getfield(L, -1, "kind");
  if (!lua_isstring(L, -1) || strcmp(lua_tostring(L, -1), kind) != 0) {
    lua_pop(L, 1);
    fail(L, "an error of the wrong kind");
  }
  return false;
}

static void round_trip(lua_State *L) {
  if (lua_isnil(L, -1)) return;
  if (!call(L, 1, "encode", "data")) fail(L, "decoded JSON cannot be encoded");
  lua_pushvalue(L, -1);
  if (!call(L, 1, "decode", "data")) fail(L, "encoded JSON cannot be decoded");
  if (!call(L, 1, "encode", "data")) fail(L, "decoded JSON cannot be encoded again");
  if (!lua_rawequal(L, -1, -2)) fail(L, "JSON does not come back the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  if (!L) L = open_lua();
  if (size == 0) return 0;
  bool is_yaml = data[0] == 'y';
  lua_pushlstring(L, (const char *)data + 1, size - 1);
  if (call(L, is_yaml ? 2 : 1, "decode", "data") && !is_yaml) round_trip(L);
  lua_settop(L, 2);
  return 0;
}
