/* mask.c - docs/meta/mask.lua has the interface. The texts are in a list in the registry, longest first: one secret may be
 * the beginning of another. */
#include "mask.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "arguments.h"
#include "modules.h"

/* What is shorter would be found in innocent words, and give itself away by what it makes of them. */
enum { LENGTH_MIN = 6 };

static const char replacement[] = "<secret>";

static void push_texts(lua_State *L) { luaL_getsubtable(L, LUA_REGISTRYINDEX, "pgafrun.mask"); }

static int lmask_add(lua_State *L) {
  size_t size;
  luaL_checktype(L, 1, LUA_TSTRING);
  lua_tolstring(L, 1, &size);
  lua_settop(L, 1);
  if (size < LENGTH_MIN) return 0;
  push_texts(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2), place = 1;
  for (lua_Integer i = n; i >= 1; i--) {
    lua_rawgeti(L, 2, i);
    if (lua_rawequal(L, -1, 1)) return 0;
    if (place == 1 && lua_rawlen(L, -1) >= size) place = i + 1;
    lua_pop(L, 1);
  }
  for (lua_Integer i = n; i >= place; i--) {
    lua_rawgeti(L, 2, i);
    lua_rawseti(L, 2, i + 1);
  }
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, place);
  return 0;
}

/* Replaces the text on top by one without the secret just below it; the secret stays. */
static void replace_one(lua_State *L) {
  size_t size, secret_size;
  const char *text = lua_tolstring(L, -1, &size), *secret = lua_tolstring(L, -2, &secret_size);
  const char *end = text + size, *at = memmem(text, size, secret, secret_size);
  if (!at) return;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (; at; at = memmem(text, (size_t)(end - text), secret, secret_size)) {
    luaL_addlstring(&b, text, (size_t)(at - text));
    luaL_addlstring(&b, replacement, sizeof replacement - 1);
    text = at + secret_size;
  }
  luaL_addlstring(&b, text, (size_t)(end - text));
  luaL_pushresult(&b);
  lua_remove(L, -2);
}

void mask_top(lua_State *L) {
  stack_reserve(L, 8, "a masked text");
  push_texts(L);
  lua_insert(L, -2);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -2);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -2, i);
    lua_insert(L, -2);
    replace_one(L);
    lua_remove(L, -2);
  }
  lua_remove(L, -2);
}

static int lmask_apply(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  lua_settop(L, 1);
  mask_top(L);
  return 1;
}

int luaopen_pgafrun_mask(lua_State *L) {
  static const luaL_Reg functions[] = {{"add", lmask_add}, {"apply", lmask_apply}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
