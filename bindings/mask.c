/* mask.c - docs/meta/mask.lua has the interface. The texts are in a list in the registry, longest first: one secret may be
 * the beginning of another. The same table has each as a key, to know it again.
 *
 * Beside a text itself, what becomes of it on its way is masked: quoted for a shell, in JSON, percent-encoded with
 * small digits, in base64; and of a text of several lines each line, for a failed command shows its last ones alone. */
#include "mask.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "arguments.h"
#include "modules.h"

/* What is shorter would be found in innocent words, and give itself away by what it makes of them. A line is one of
 * many, and some of those are harmless. */
enum { LENGTH_MIN = 6, LINE_LENGTH_MIN = 8 };

static const char replacement[] = "<secret>";

static void push_texts(lua_State *L) { luaL_getsubtable(L, LUA_REGISTRYINDEX, "pgafrun.mask"); }

/* Takes the text on top of the stack into the list at index 2. */
static void hold(lua_State *L) {
  size_t size = lua_rawlen(L, -1);
  lua_pushvalue(L, -1);
  bool is_known = lua_rawget(L, 2) != LUA_TNIL;
  lua_pop(L, 1);
  if (is_known || size < LENGTH_MIN) {
    lua_pop(L, 1);
    return;
  }
  lua_Integer place = (lua_Integer)lua_rawlen(L, 2) + 1;
  for (; place > 1; place--) {
    lua_rawgeti(L, 2, place - 1);
    bool is_here = lua_rawlen(L, -1) >= size;
    if (is_here) {
      lua_pop(L, 1);
      break;
    }
    lua_rawseti(L, 2, place);
  }
  lua_pushvalue(L, -1);
  lua_rawseti(L, 2, place);
  lua_pushboolean(L, true);
  lua_rawset(L, 2);
}

/* What becomes of one character. */
typedef void (*form_t)(luaL_Buffer *b, unsigned char c);

static void as_it_is(luaL_Buffer *b, unsigned char c) { luaL_addchar(b, (char)c); }

static void in_shell_quotes(luaL_Buffer *b, unsigned char c) {
  if (c == '\'') luaL_addstring(b, "'\\'");
  luaL_addchar(b, (char)c);
}

static void in_json(luaL_Buffer *b, unsigned char c) {
  static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
  char digits[8];
  const char *found = c ? strchr(escaped, c) : NULL;
  if (found) {
    luaL_addchar(b, '\\');
    luaL_addchar(b, letters[found - escaped]);
  } else if (c < 0x20) {
    snprintf(digits, sizeof digits, "\\u%04x", c);
    luaL_addstring(b, digits);
  } else {
    luaL_addchar(b, (char)c);
  }
}

static void in_uri(luaL_Buffer *b, unsigned char c) {
  static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  char digits[4];
  if (memchr(unreserved, c, sizeof unreserved - 1)) {
    luaL_addchar(b, (char)c);
  } else {
    snprintf(digits, sizeof digits, "%%%02x", c);
    luaL_addstring(b, digits);
  }
}

static void hold_forms(lua_State *L, const char *text, size_t size) {
  static const form_t forms[] = {as_it_is, in_shell_quotes, in_json, in_uri};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t k = 0; k < size; k++) forms[i](&b, (unsigned char)text[k]);
    luaL_pushresult(&b);
    hold(L);
  }
}

/* What the text gives in base64 behind any other text, which moves it by 0, 1 or 2 bytes: the digits that are its own. */
static void hold_base64(lua_State *L, const char *text, size_t size) {
  static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t moved = 0; moved < 3; moved++) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = (moved * 8 + 5) / 6; (i + 1) * 6 <= (moved + size) * 8; i++) {
      size_t bit = i * 6 - moved * 8, next = bit / 8 + 1;
      unsigned pair =
          (unsigned)(unsigned char)text[bit / 8] << 8 | (next < size ? (unsigned char)text[next] : 0);
      luaL_addchar(&b, base64_digits[pair >> (10 - bit % 8) & 63]);
    }
    luaL_pushresult(&b);
    hold(L);
  }
}

static void hold_lines(lua_State *L, const char *text, size_t size) {
  static const char blank[] = " \t\r";
  const char *end = text + size;
  for (const char *line = text, *stop; line < end; line = stop + 1) {
    stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop) stop = end;
    const char *last = stop;
    while (line < last && memchr(blank, *line, sizeof blank - 1)) line++;
    while (line < last && memchr(blank, last[-1], sizeof blank - 1)) last--;
    bool is_frame = last - line > 5 && memcmp(line, "-----", 5) == 0; /* of PEM: the same for all keys */
    if (last - line >= LINE_LENGTH_MIN && !is_frame) hold_forms(L, line, (size_t)(last - line));
  }
}

static int lmask_add(lua_State *L) {
  size_t size;
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *text = lua_tolstring(L, 1, &size);
  lua_settop(L, 1);
  if (size < LENGTH_MIN) return 0;
  push_texts(L);
  hold_forms(L, text, size);
  hold_base64(L, text, size);
  if (memchr(text, '\n', size)) hold_lines(L, text, size);
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
