/* task.h - tasks and the scopes they run in.
 *
 * A task is a Lua coroutine that the scheduler resumes; it lives in a full userdata (so handles that scripts keep are
 * the task itself), anchored from its spawn to its end. A scope is a deadline plus a cancellation, nested inside its
 * task's other scopes; a group is a scope that tasks are spawned into. The tree is
 *
 *     root scope <- task <- scopes it opened, innermost is task->scope <- tasks spawned there <- ...
 *
 * Cancelling goes down the tree at once (stopping at shields) and stays: every later wait in a cancelled scope raises.
 * Deadlines are absolute (uv_hrtime), inherited when a scope opens, and only shrink, but for a shield's own.
 * The loop's thread only. This file and scheduler.h, host.h are the only ones in runtime/ that know Lua.
 */
#ifndef PGAFRUN_TASK_H
#define PGAFRUN_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "heap.h"

#define TASK_NEVER UINT64_MAX

typedef struct task task_t;
typedef struct scope scope_t;
struct scheduler;

typedef enum task_state {
  TASK_READY,
  TASK_RUNNING,
  TASK_WAITING,
  TASK_DONE,
  TASK_FAILED,
  TASK_CANCELLED
} task_state_t;

/* What ended a wait. */
typedef enum wake_cause { WAKE_DONE, WAKE_TIMER, WAKE_DEADLINE, WAKE_CANCELLED, WAKE_NO_MEMORY } wake_cause_t;

/* Why a scope or a task was cancelled. */
typedef enum cancel_reason { CANCEL_NONE, CANCEL_REQUESTED, CANCEL_SIBLING, CANCEL_SIGNAL } cancel_reason_t;

/* Tasks that wait for one thing, oldest first. */
typedef struct waitlist {
  task_t *head, *tail;
} waitlist_t;

struct scope {
  struct scheduler *scheduler;
  scope_t *parent;                 /* the scope around it; NULL for the root */
  task_t *owner;                   /* the task that opened it; NULL for the root */
  scope_t *children, *next, *prev; /* scopes opened inside */
  task_t *tasks;                   /* tasks spawned into it that have not ended */
  uint64_t deadline;
  uint32_t live;  /* number of those tasks */
  uint8_t cancel; /* cancel_reason_t */
  bool shield;
  bool open;
  bool failed;        /* a task did; the first one's error is user value 1 of the userdata it lives in */
  waitlist_t waiters; /* for live to become 0 */
  int anchor;         /* registry reference to the userdata it lives in, while open; LUA_NOREF without */
};

struct task {
  heap_entry_t timer; /* first: the heap's entry is the task */
  struct scheduler *scheduler;
  lua_State *co;
  scope_t *base;  /* the scope it was spawned into */
  scope_t *scope; /* the innermost it has open; base without any */
  task_t *sibling_next, *sibling_prev;
  task_t *queue_next, *queue_prev; /* in the ready queue or in a waitlist */
  waitlist_t *waitlist;
  waitlist_t joiners;      /* tasks in Task:wait() */
  const char *waiting_for; /* static or living as long as the wait */
  uint64_t since;          /* of the wait */
  uint64_t patience;       /* ns it may run without waiting; 0: as long as it likes */
  const char *name;        /* behind the task, in the same userdata; NULL: it has none */
  uint32_t id;
  int anchor;     /* in the scheduler's table of live tasks */
  int nargs;      /* on the first resume */
  uint8_t state;  /* task_state_t */
  uint8_t cause;  /* wake_cause_t of the last wait */
  uint8_t cancel; /* cancel_reason_t */
  bool uninterruptible;
  bool failed;
  bool aside; /* with all it spawns no part of the script: nobody is to stop at its failures */
};

/* Makes a ready task that runs the function and nargs arguments on top of L's stack, and leaves its userdata in their
 * place. group_index is the stack index of the userdata that holds `base` (0 for the root scope, which needs none). */
task_t *task_spawn(lua_State *L, scope_t *base, int group_index, int nargs, const char *name);

/* The task that runs on L. Raises a Lua error saying why `what` cannot wait here (foreign coroutine, require ...). */
task_t *task_require(lua_State *L, const char *what);

/* Why the next wait of t would raise: WAKE_DONE when it would not. */
wake_cause_t task_pending_interrupt(const task_t *t);

/* Suspends t until task_wake, `at`, its deadline or its cancellation; k then finds the cause in t->cause.
 * Call as `return task_suspend(...)` from a C function; t must be the running task. list may be NULL. */
int task_suspend(lua_State *L, task_t *t, waitlist_t *list, uint64_t at, const char *what, lua_KContext ctx,
                 lua_KFunction k);
/* Same, but neither deadline nor cancellation ends it: only for waiting for tasks that feel both themselves. */
int task_suspend_firmly(lua_State *L, task_t *t, waitlist_t *list, const char *what, lua_KContext ctx,
                        lua_KFunction k);

/* Goes to the end of the ready queue. */
int task_suspend_ready(lua_State *L, task_t *t, lua_KFunction k);

/* Makes a waiting task ready; harmless on any other. */
void task_wake(task_t *t, wake_cause_t cause);
/* Wakes the n oldest (all for n < 0); returns how many. */
int waitlist_wake(waitlist_t *list, int n);

void task_cancel(task_t *t, cancel_reason_t reason);

/* Opens a scope inside t's innermost one. relative deadline in ns from now, TASK_NEVER for none. */
void scope_open(scope_t *scope, task_t *t, uint64_t relative, bool shield);
/* Makes its parent the innermost again; its tasks must have ended. Idempotent. */
void scope_close(lua_State *L, scope_t *scope);
void scope_cancel(scope_t *scope, cancel_reason_t reason);

/* Pushes the metatable of task handles; its methods are the binding's to add. */
void task_push_metatable(lua_State *L);

const char *task_state_name(const task_t *t);

#endif
