/* tty.c - the terminal; docs/meta/tty.lua has the interface. */
#include <unistd.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "modules.h"
#include "runtime/tty.h"
#include "tty_raw.h"

static int check_descriptor(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd <= INT16_MAX, 1, "a file descriptor: 0, 1 or 2");
  return (int)fd;
}

static int ltty_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty(check_descriptor(L)));
  return 1;
}

static int ltty_size(lua_State *L) {
  int columns, rows;
  if (!tty_size(check_descriptor(L), &columns, &rows)) return 0;
  lua_pushinteger(L, columns);
  lua_pushinteger(L, rows);
  return 2;
}

static int ltty_read_line_finish(lua_State *L, op_t *op) {
  size_t size;
  const char *text = tty_line(op, &size);
  if (text) {
    lua_pushlstring(L, text, size);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int ltty_read_line(lua_State *L) {
  static const char *const names[] = {"prompt", "secret", NULL};
  lua_settop(L, 1);
  arguments_check(L, 1, true, false, names);
  tty_prompt_t prompt = {.secret = arguments_boolean(L, 1, "secret", false)};
  prompt.text = arguments_text(L, 1, "prompt");
  async_t *a = async_begin(L, "tty.read_line");
  op_t *op = operation_made(L, tty_read_line(&runtime_of(L)->loop, &prompt));
  return async_wait(L, a, op, 0, ltty_read_line_finish);
}

static int ltty_wait_resize_finish(lua_State *L, op_t *op) {
  lua_pushboolean(L, true);
  return 1;
}

static int ltty_wait_resize(lua_State *L) {
  double seconds = luaL_optnumber(L, 1, 0);
  luaL_argcheck(L, lua_isnoneornil(L, 1) || (seconds > 0 && seconds < 1e8), 1,
                "a time in seconds, more than 0");
  async_t *a = async_begin(L, "tty.wait_resize");
  op_t *op = operation_made(L, tty_resized(&runtime_of(L)->loop));
  return async_wait_or_nil(L, a, op, seconds, ltty_wait_resize_finish);
}

int luaopen_pgafrun_tty(lua_State *L) {
  static const luaL_Reg functions[] = {{"is_terminal", ltty_is_terminal},
                                       {"size", ltty_size},
                                       {"raw", ltty_raw},
                                       {"read_line", ltty_read_line},
                                       {"wait_resize", ltty_wait_resize},
                                       {NULL, NULL}};
  tty_raw_register(L);
  luaL_newlib(L, functions);
  return 1;
}
