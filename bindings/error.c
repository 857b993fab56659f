/* error.c - structured errors: { kind, operation, code, message, cause, retryable, outcome, where, hint }. */
#include "error.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "async.h"
#include "beside.h"
#include "mask.h"
#include "modules.h"

/* --- text ----------------------------------------------------------------------------------------------- */

static const char *field_text(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name); /* left on the stack: keeps the text alive */
  return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

/* "operation: message [kind code]", then cause, hint and outcome on lines of their own. */
static int error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  const char *operation = field_text(L, 1, "operation"), *message = field_text(L, 1, "message");
  const char *kind = field_text(L, 1, "kind"), *code = field_text(L, 1, "code");
  const char *hint = field_text(L, 1, "hint"), *outcome = field_text(L, 1, "outcome");
  int cause = lua_gettop(L) + 1;
  lua_getfield(L, 1, "cause");
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  if (operation) {
    luaL_addstring(&b, operation);
    luaL_addstring(&b, ": ");
  }
  luaL_addstring(&b, message ? message : "(no message)");
  if (kind && strcmp(kind, "script") != 0) {
    luaL_addstring(&b, " [");
    luaL_addstring(&b, kind);
    if (code && *code) {
      luaL_addchar(&b, ' ');
      luaL_addstring(&b, code);
    }
    luaL_addchar(&b, ']');
  }
  if (outcome)
    luaL_addstring(
        &b, "\n  outcome: unknown - the change may or may not have been made; look before acting again");
  if (!lua_isnil(L, cause)) {
    luaL_addstring(&b, "\n  cause: ");
    luaL_tolstring(L, cause, NULL);
    luaL_addvalue(&b);
  }
  if (hint) {
    luaL_addstring(&b, "\n  hint: ");
    luaL_addstring(&b, hint);
  }
  luaL_pushresult(&b);
  mask_top(L);
  return 1;
}

static void push_metatable(lua_State *L) {
  if (luaL_getmetatable(L, ERROR_METATABLE) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushliteral(L, ERROR_METATABLE);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, ERROR_METATABLE); /* last: only what is whole is registered */
}

bool error_test(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  luaL_getmetatable(L, ERROR_METATABLE);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* --- making --------------------------------------------------------------------------------------------- */

void error_push_where(lua_State *L, lua_State *of, int level) {
  lua_Debug ar;
  char nearest[LUA_IDSIZE + 16] = "";
  for (int i = level; lua_getstack(of, i, &ar); i++) {
    lua_getinfo(of, "Sl", &ar);
    if (ar.currentline <= 0) continue;
    bool library = strstr(ar.source, "/stdlib/pgaf/") != NULL;
    if (!*nearest || !library) snprintf(nearest, sizeof nearest, "%s:%d", ar.short_src, ar.currentline);
    if (!library) break;
  }
  if (*nearest)
    lua_pushstring(L, nearest);
  else
    lua_pushnil(L);
}

static void set_text(lua_State *L, const char *name, const char *text) {
  if (!text || !*text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

void failure_push(lua_State *L, const failure_t *f, const char *operation, int level) {
  if (!lua_checkstack(L, 6)) {
    lua_pushliteral(L, "not enough memory");
    lua_error(L);
  }
  lua_createtable(L, 0, 8);
  set_text(L, "kind", f->kind);
  set_text(L, "operation", operation);
  set_text(L, "code", f->code);
  set_text(L, "message", f->message);
  lua_pushboolean(L, f->retryable);
  lua_setfield(L, -2, "retryable");
  if (f->outcome_unknown) set_text(L, "outcome", "unknown");
  error_push_where(L, L, level);
  lua_setfield(L, -2, "where");
  push_metatable(L);
  lua_setmetatable(L, -2);
}

int failure_raise(lua_State *L, const failure_t *f, const char *operation) {
  failure_push(L, f, operation, 1);
  return lua_error(L);
}

int memory_raise(lua_State *L, const char *operation) {
  failure_t f = {0};
  failure_set(&f, "memory", "ENOMEM", "not enough memory");
  return failure_raise(L, &f, operation);
}

int error_raise_interrupt(lua_State *L, const task_t *t, const char *operation, bool outcome_unknown) {
  failure_t f = {0};
  if (t->cause == WAKE_NO_MEMORY) return memory_raise(L, operation);
  if (t->cause == WAKE_DEADLINE) {
    failure_set(&f, "timeout", "deadline", "the deadline passed");
  } else {
    uint8_t reason = t->scope->cancel ? t->scope->cancel : t->cancel;
    const char *code = reason == CANCEL_SIGNAL    ? "interrupted"
                       : reason == CANCEL_SIBLING ? "sibling"
                                                  : "requested";
    failure_set(&f, "cancelled", code, "%s",
                reason == CANCEL_SIGNAL    ? "interrupted by a signal"
                : reason == CANCEL_SIBLING ? "another task of the group failed"
                                           : "cancelled");
  }
  f.outcome_unknown = outcome_unknown;
  return failure_raise(L, &f, operation);
}

int error_handler(lua_State *L) {
  if (error_test(L, 1)) {
    bool has = lua_getfield(L, 1, "traceback") != LUA_TNIL;
    bool cancelled =
        lua_getfield(L, 1, "kind") == LUA_TSTRING && strcmp(lua_tostring(L, -1), "cancelled") == 0;
    lua_settop(L, 1);
    if (has || cancelled) return 1;
  } else if (lua_type(L, 1) == LUA_TSTRING) {
    lua_createtable(L, 0, 4);
    lua_insert(L, 1);
    lua_setfield(L, 1, "message");
    set_text(L, "kind", "script");
    lua_pushboolean(L, false);
    lua_setfield(L, 1, "retryable");
    push_metatable(L);
    lua_setmetatable(L, 1);
  } else {
    return 1;
  }
  luaL_traceback(L, L, NULL, 1);
  lua_setfield(L, 1, "traceback");
  beside_tell_failure(L);
  return 1;
}

/* --- the module ----------------------------------------------------------------------------------------- */

static int lerror_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_createtable(L, 0, 8);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 2);
  }
  if (lua_getfield(L, 2, "kind") != LUA_TSTRING) return luaL_error(L, "an error needs a kind");
  if (lua_getfield(L, 2, "message") == LUA_TNIL) return luaL_error(L, "an error needs a message");
  lua_settop(L, 2);
  if (lua_getfield(L, 2, "retryable") == LUA_TNIL) {
    lua_pushboolean(L, false);
    lua_setfield(L, 2, "retryable");
  }
  lua_settop(L, 2);
  if (lua_getfield(L, 2, "where") == LUA_TNIL) {
    error_push_where(L, L, 1);
    lua_setfield(L, 2, "where");
  }
  lua_settop(L, 2);
  push_metatable(L);
  lua_setmetatable(L, 2);
  return 1;
}

static int lerror_raise(lua_State *L) {
  lerror_new(L);
  return lua_error(L);
}

static bool field_is(lua_State *L, const char *name, int wanted) {
  if (lua_isnoneornil(L, wanted)) return true;
  lua_getfield(L, 1, name);
  bool same = lua_rawequal(L, -1, wanted);
  lua_pop(L, 1);
  return same;
}

static int lerror_is(lua_State *L) {
  lua_settop(L, 3);
  lua_pushboolean(L, error_test(L, 1) && field_is(L, "kind", 2) && field_is(L, "code", 3));
  return 1;
}

int luaopen_pgafrun_error(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", lerror_new}, {"raise", lerror_raise}, {"is", lerror_is}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
