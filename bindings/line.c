/* line.c - a line that somebody edits on the terminal; docs/meta/line.lua has the interface.
 *
 * The userdata's user values: the function that completes, and the task that Ctrl-C cancels (kept alive by it, since a
 * signal's handler knows only its C side). */
#include <stdlib.h>

#include <lauxlib.h>

#include "arguments.h"
#include "async.h"
#include "modules.h"
#include "runtime/bytes.h"
#include "runtime/editor.h"
#include "runtime/scheduler.h"
#include "runtime/task_internal.h"

#define EDITOR_METATABLE "pgafrun.line.Editor"

enum { COMPLETE = 1, FOREGROUND, USER_VALUES = FOREGROUND };

typedef struct line_editor {
  editor_t *editor; /* NULL once it is closed */
  task_t *foreground;
  runtime_t *runtime;
} line_editor_t;

static line_editor_t *check_handle(lua_State *L) { return luaL_checkudata(L, 1, EDITOR_METATABLE); }

static line_editor_t *check_open(lua_State *L, const char *operation) {
  line_editor_t *handle = check_handle(L);
  if (handle->editor) return handle;
  failure_t f = {0};
  failure_set(&f, "closed", "closed", "the line editor was closed");
  failure_raise(L, &f, operation);
  return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------ */

static void hide(void *screen) { editor_hide(screen); }
static void show(void *screen) { editor_show(screen); }

/* Ctrl-C: for what runs, or for the line that is being typed. */
static void interrupted(void *arg) {
  line_editor_t *handle = arg;
  if (handle->foreground)
    task_cancel(handle->foreground, CANCEL_SIGNAL);
  else
    editor_interrupt(handle->editor);
}

static int leditor_close(lua_State *L) {
  line_editor_t *handle = check_handle(L);
  editor_t *editor = handle->editor;
  if (!editor) return 0;
  handle->editor = NULL;
  scheduler_take_interrupts(handle->runtime->scheduler, NULL, NULL);
  log_t *log = &handle->runtime->log;
  log->hide = log->show = NULL;
  editor_close(editor);
  return 0;
}

static int lline_open(lua_State *L) {
  static const char *const names[] = {"complete", "device", NULL};
  lua_settop(L, 1);
  arguments_check(L, 1, true, false, names);
  const char *device = arguments_text(L, 1, "device");
  lua_getfield(L, 1, "complete");
  if (!lua_isnil(L, -1)) luaL_checktype(L, -1, LUA_TFUNCTION);
  int complete = lua_gettop(L);
  line_editor_t *handle = lua_newuserdatauv(L, sizeof *handle, USER_VALUES);
  *handle = (line_editor_t){.runtime = runtime_of(L)};
  luaL_setmetatable(L, EDITOR_METATABLE);
  lua_pushvalue(L, complete);
  lua_setiuservalue(L, -2, COMPLETE);
  failure_t f = {0};
  handle->editor = editor_open(&handle->runtime->loop, device, &f);
  if (!handle->editor) return failure_raise(L, &f, "line.open");
  scheduler_take_interrupts(handle->runtime->scheduler, interrupted, handle);
  log_t *log = &handle->runtime->log;
  log->screen = handle->editor;
  log->hide = hide;
  log->show = show;
  return 1;
}

/* --- reading --------------------------------------------------------------------------------------------- */

static int lread_finish(lua_State *L, op_t *op) {
  size_t size;
  editor_end_t end;
  const char *text = editor_line(op, &size, &end);
  if (text) {
    lua_pushlstring(L, text, size);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, end == EDITOR_INTERRUPTED ? "interrupted" : "eof");
  return 2;
}

/* Arguments: the function, and the two texts. Its first result may be false: the answer comes later. */
static int call_complete(lua_State *L) {
  lua_call(L, 2, 2);
  bool later = lua_isboolean(L, 1) && !lua_toboolean(L, 1);
  for (int i = later ? 2 : 1; i <= 2; i++)
    if (!lua_isnil(L, i) && lua_type(L, i) != LUA_TSTRING)
      return luaL_error(L, "complete returns texts or nil, or false");
  return 2;
}

static void push_bytes(lua_State *L, const bytes_t *bytes) {
  lua_pushlstring(L, bytes->data ? bytes->data : "", bytes->size);
}

/* Argument: the editor's lightuserdata. Pushing may raise; the bytes are freed by ask_complete. */
typedef struct asked {
  bytes_t before, behind;
} asked_t;

static int push_asked(lua_State *L) {
  const asked_t *asked = lua_touserdata(L, 2);
  lua_settop(L, 1);
  push_bytes(L, &asked->before);
  push_bytes(L, &asked->behind);
  return call_complete(L);
}

/* Tab was pressed, and the task that reads has been woken. Nothing in here may wait. */
static void lread_take(lua_State *L, op_t *op) {
  line_editor_t *handle = luaL_testudata(L, 1, EDITOR_METATABLE);
  int top = lua_gettop(L);
  if (!handle || !handle->editor || !editor_is_completing(handle->editor)) return;
  asked_t asked = {0};
  lua_pushcfunction(L, push_asked);
  lua_getiuservalue(L, 1, COMPLETE);
  lua_pushlightuserdata(L, &asked);
  bool known = editor_text(handle->editor, &asked.before, &asked.behind);
  int status = known ? lua_pcall(L, 2, 2, 0) : LUA_ERRMEM;
  bytes_free(&asked.before);
  bytes_free(&asked.behind);
  if (status != LUA_OK)
    editor_complete(handle->editor, NULL,
                    known && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "completion failed");
  else if (!lua_isboolean(L, -2))
    editor_complete(handle->editor, lua_tostring(L, -2), lua_tostring(L, -1));
  lua_settop(L, top);
}

static int leditor_read(lua_State *L) {
  line_editor_t *handle = check_open(L, "line.read");
  lua_settop(L, 2);
  const char *prompt = lua_isnil(L, 2) ? "" : argument_text(L, 2);
  bool completes = lua_getiuservalue(L, 1, COMPLETE) != LUA_TNIL;
  lua_pop(L, 1);
  /* each line may be thrown away anew */
  if (!handle->foreground) scheduler_take_interrupts(handle->runtime->scheduler, interrupted, handle);
  async_t *a = async_begin(L, "line.read");
  stack_reserve(L, 8, NULL);
  op_t *op = operation_made(L, editor_read(handle->editor, prompt));
  return completes ? async_wait_in_parts(L, a, op, 0, lread_take, lread_finish)
                   : async_wait(L, a, op, 0, lread_finish);
}

/* --- beside it ------------------------------------------------------------------------------------------- */

static int leditor_print_above(lua_State *L) {
  const line_editor_t *handle = check_open(L, "line.print_above");
  size_t size;
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *text = lua_tolstring(L, 2, &size);
  editor_print_above(handle->editor, text, size);
  return 0;
}

static int leditor_complete(lua_State *L) {
  const line_editor_t *handle = check_open(L, "line.complete");
  editor_complete(handle->editor, lua_isnoneornil(L, 2) ? NULL : argument_text(L, 2),
                  lua_isnoneornil(L, 3) ? NULL : argument_text(L, 3));
  return 0;
}

static int leditor_remember(lua_State *L) {
  const line_editor_t *handle = check_open(L, "line.remember");
  editor_remember(handle->editor, argument_text(L, 2));
  return 0;
}

static int leditor_is_reading(lua_State *L) {
  const line_editor_t *handle = check_handle(L);
  lua_pushboolean(L, handle->editor && editor_is_reading(handle->editor));
  return 1;
}

static int leditor_foreground(lua_State *L) {
  line_editor_t *handle = check_open(L, "line.foreground");
  lua_settop(L, 2);
  task_t *task = lua_isnil(L, 2) ? NULL : luaL_checkudata(L, 2, TASK_METATABLE);
  handle->foreground = task;
  lua_setiuservalue(L, 1, FOREGROUND);
  scheduler_take_interrupts(handle->runtime->scheduler, interrupted, handle);
  return 0;
}

int luaopen_pgafrun_line(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", lline_open}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"read", leditor_read},
                                     {"print_above", leditor_print_above},
                                     {"complete", leditor_complete},
                                     {"remember", leditor_remember},
                                     {"is_reading", leditor_is_reading},
                                     {"foreground", leditor_foreground},
                                     {"close", leditor_close},
                                     {NULL, NULL}};
  task_push_metatable(L);
  lua_pop(L, 1);
  if (luaL_newmetatable(L, EDITOR_METATABLE)) {
    lua_pushcfunction(L, leditor_close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, leditor_close);
    lua_setfield(L, -2, "__close");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
