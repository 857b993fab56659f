/* tty_raw.c - tty.raw: the whole terminal, for who draws on it; docs/meta/tty.lua has the interface. */
#include "tty_raw.h"

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "runtime/tty_raw.h"

#define RAW_METATABLE "pgafrun.tty.Raw"

static tty_raw_t **check_handle(lua_State *L) { return luaL_checkudata(L, 1, RAW_METATABLE); }

static tty_raw_t *check_open(lua_State *L, const char *operation) {
  tty_raw_t *raw = *check_handle(L);
  if (raw) return raw;
  failure_t f = {0};
  failure_set(&f, "closed", "closed", "the terminal was given back");
  failure_raise(L, &f, operation);
  return NULL;
}

int ltty_raw(lua_State *L) {
  static const char *const names[] = {"enter", "leave", NULL};
  lua_settop(L, 1);
  arguments_check(L, 1, true, false, names);
  tty_raw_options_t options = {0};
  options.enter = arguments_text(L, 1, "enter");
  options.leave = arguments_text(L, 1, "leave");
  tty_raw_t **handle = lua_newuserdatauv(L, sizeof(tty_raw_t *), 0);
  *handle = NULL;
  luaL_setmetatable(L, RAW_METATABLE);
  failure_t f = {0};
  *handle = tty_raw_open(&runtime_of(L)->loop, &options, &f);
  if (!*handle) return failure_raise(L, &f, "tty.raw");
  return 1;
}

static int lraw_read_finish(lua_State *L, op_t *op) {
  const char *bytes;
  size_t size;
  switch (tty_raw_input(op, &bytes, &size)) {
  case TTY_TYPED: lua_pushlstring(L, bytes, size); return 1;
  case TTY_RESUMED: break;
  case TTY_ENDED:
    lua_pushnil(L);
    lua_pushliteral(L, "ended");
    return 2;
  }
  lua_pushnil(L);
  lua_pushliteral(L, "resumed");
  return 2;
}

static int lraw_read(lua_State *L) {
  tty_raw_t *raw = check_open(L, "tty.read");
  double seconds = luaL_optnumber(L, 2, 0);
  luaL_argcheck(L, lua_isnoneornil(L, 2) || (seconds > 0 && seconds < 1e8), 2,
                "a time in seconds, more than 0");
  async_t *a = async_begin(L, "tty.read");
  return async_wait_or_nil(L, a, operation_made(L, tty_raw_read(raw)), seconds, lraw_read_finish);
}

static int lraw_write_finish(lua_State *L, op_t *op) { return 0; }

static int lraw_write(lua_State *L) {
  tty_raw_t *raw = check_open(L, "tty.write");
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  async_t *a = async_begin(L, "tty.write");
  return async_wait(L, a, operation_made(L, tty_raw_write(raw, text, size)), 0, lraw_write_finish);
}

static int lraw_close(lua_State *L) {
  tty_raw_t **handle = check_handle(L);
  tty_raw_t *raw = *handle;
  *handle = NULL;
  if (raw) tty_raw_close(raw);
  return 0;
}

static int lraw_tostring(lua_State *L) {
  lua_pushfstring(L, "tty.Raw (%s)", *check_handle(L) ? "open" : "closed");
  return 1;
}

void tty_raw_register(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"close", lraw_close}, {"read", lraw_read}, {"write", lraw_write}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__close", lraw_close}, {"__gc", lraw_close}, {"__tostring", lraw_tostring}, {NULL, NULL}};
  luaL_newmetatable(L, RAW_METATABLE);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
