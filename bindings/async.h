/* async.h - how every waiting binding is written: start, done, finish, cancel.
 *
 *     static int lfoo_get(lua_State *L) {            // start: check arguments, submit, wait
 *       async_t *a = async_begin(L, "foo.get");      // raises where waiting is impossible; pushes the anchor
 *       op_t *op = foo_get(...);                     // the transport's start: op_init + op_submit (+ maybe op_complete)
 *       return async_wait(L, a, op, 0, lfoo_get_finish);
 *     }
 *     static int lfoo_get_finish(lua_State *L, op_t *op) {   // finish: push the results of a successful op
 *       ... return n;                                // may raise; op is released by the anchor in any case
 *     }
 *
 * done is op_complete's wake (marks the task ready); cancel is op->class->cancel. A failed op never reaches finish: it is raised as a
 * structured error at the script's place. Arguments must be fully checked BEFORE the op is made, because a Lua error after it and
 * before async_wait leaks it.  finish may itself raise a structured error with failure_raise().
 */
#ifndef PGAFRUN_ASYNC_H
#define PGAFRUN_ASYNC_H

#include <lua.h>

#include "runtime/op.h"
#include "runtime/runtime.h"

typedef struct async async_t;
typedef int (*async_finish_t)(lua_State *L, op_t *op);

/* Pushes a userdata that will own the op, whatever happens to the task. */
async_t *async_begin(lua_State *L, const char *operation);
/* What the operation is about, for the message when its time is up. The text must be kept on the caller's stack. */
void async_about(async_t *a, const char *subject);
/* Waits for op. seconds > 0: raise kind "timeout" when they pass (the task's deadline holds in any case). */
int async_wait(lua_State *L, async_t *a, op_t *op, double seconds, async_finish_t finish);
/* As async_wait, but when `seconds` pass it returns nil instead of raising. */
int async_wait_or_nil(lua_State *L, async_t *a, op_t *op, double seconds, async_finish_t finish);

/* As async_wait; take is called whenever a part of the result can be had already, and leaves the stack as it was. */
typedef void (*async_take_t)(lua_State *L, op_t *op);
int async_wait_in_parts(lua_State *L, async_t *a, op_t *op, double seconds, async_take_t take,
                        async_finish_t finish);

/* Pushes f as a structured error (cause on top of the stack is NOT taken). level: as luaL_where. */
void failure_push(lua_State *L, const failure_t *f, const char *operation, int level);
/* Raises f as a structured error. */
int failure_raise(lua_State *L, const failure_t *f, const char *operation);

/* The same, of kind "memory". */
int memory_raise(lua_State *L, const char *operation);

/* The one runtime of this Lua state. */
runtime_t *runtime_of(lua_State *L);

#endif
