#include "yaml_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "json.h"

#define DIGITS "0123456789"

static bool is_one_of(const char *text, const char *const words[]) {
  for (; *words; words++) {
    if (strcmp(text, *words) == 0) return true;
  }
  return false;
}

/* Null, booleans, .inf and .nan. */
static bool push_word(lua_State *L, const char *text) {
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
  static const char *const trues[] = {"true", "True", "TRUE", NULL}, *const falses[] = {"false", "False",
                                                                                        "FALSE", NULL};
  static const char *const infs[] = {".inf", ".Inf", ".INF", NULL}, *const nans[] = {".nan", ".NaN", ".NAN",
                                                                                     NULL};
  const char *unsigned_text = *text == '-' || *text == '+' ? text + 1 : text;
  if (is_one_of(text, nulls)) {
    json_push_null(L);
  } else if (is_one_of(text, trues)) {
    lua_pushboolean(L, true);
  } else if (is_one_of(text, falses)) {
    lua_pushboolean(L, false);
  } else if (is_one_of(unsigned_text, infs)) {
    lua_pushnumber(L, *text == '-' ? -HUGE_VAL : HUGE_VAL);
  } else if (is_one_of(text, nans)) {
    lua_pushnumber(L, (lua_Number)NAN);
  } else {
    return false;
  }
  return true;
}

/* [-+]?[0-9]+, 0o[0-7]+, 0x[0-9a-fA-F]+ */
static bool is_integer(const char *text, int *base) {
  const char *p = text, *digits = DIGITS;
  *base = 10;
  if (p[0] == '0' && (p[1] == 'o' || p[1] == 'x')) {
    *base = p[1] == 'o' ? 8 : 16;
    digits = *base == 8 ? "01234567" : DIGITS "abcdefABCDEF";
    p += 2;
  } else if (*p == '-' || *p == '+') {
    p++;
  }
  size_t n = strspn(p, digits);
  return n > 0 && p[n] == '\0';
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(const char *p) {
  if (*p == '-' || *p == '+') p++;
  size_t whole = strspn(p, DIGITS), fraction = 0;
  p += whole;
  if (*p == '.') {
    fraction = strspn(++p, DIGITS);
    p += fraction;
  }
  if (whole + fraction == 0) return false;
  if (*p == 'e' || *p == 'E') {
    p++;
    if (*p == '-' || *p == '+') p++;
    size_t exponent = strspn(p, DIGITS);
    if (exponent == 0) return false;
    p += exponent;
  }
  return *p == '\0';
}

const char *scalar_push(lua_State *L, const char *text, size_t size) {
  int base;
  if (strlen(text) == size) { /* a zero byte makes it text */
    if (push_word(L, text)) return NULL;
    if (is_integer(text, &base)) {
      errno = 0;
      long long value = strtoll(base == 10 ? text : text + 2, NULL, base);
      if (errno == ERANGE) return "an integer beyond 64 bits (quote it if it is text)";
      lua_pushinteger(L, value);
      return NULL;
    }
    if (is_float(text)) {
      lua_pushnumber(L, strtod(text, NULL));
      return NULL;
    }
  }
  lua_pushlstring(L, text, size);
  return NULL;
}

bool scalar_push_as(lua_State *L, const char *tag, const char *text, size_t size, const char **problem) {
  static const char *const known[] = {YAML_STR_TAG,  YAML_INT_TAG,  YAML_FLOAT_TAG,
                                      YAML_BOOL_TAG, YAML_NULL_TAG, NULL};
  *problem = NULL;
  if (!is_one_of(tag, known)) return false;
  if (strcmp(tag, YAML_STR_TAG) == 0) {
    lua_pushlstring(L, text, size);
    return true;
  }
  *problem = scalar_push(L, text, size);
  if (*problem) return true;
  if (strcmp(tag, YAML_FLOAT_TAG) == 0 && lua_isinteger(L, -1)) {
    lua_pushnumber(L, lua_tonumber(L, -1));
    lua_replace(L, -2);
  }
  bool fits = strcmp(tag, YAML_INT_TAG) == 0     ? lua_isinteger(L, -1)
              : strcmp(tag, YAML_FLOAT_TAG) == 0 ? lua_type(L, -1) == LUA_TNUMBER
              : strcmp(tag, YAML_BOOL_TAG) == 0  ? lua_isboolean(L, -1)
                                                 : lua_islightuserdata(L, -1);
  if (!fits) {
    lua_pop(L, 1);
    *problem = "the text does not fit its tag";
  }
  return true;
}
