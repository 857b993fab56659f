/* scheduler.h - the one place that resumes coroutines.
 *
 * Ready tasks stand in a FIFO queue, drained after each batch of I/O with a budget, so that neither starves the other.
 * Callbacks of libuv, curl and libpq never touch a Lua state: they complete operations, which put tasks into the queue. */
#ifndef PGAFRUN_SCHEDULER_H
#define PGAFRUN_SCHEDULER_H

#include <signal.h>
#include <time.h>

#include <uv.h>

#include "task.h"

typedef struct scheduler {
  uv_loop_t *loop;
  lua_State *L; /* the main state; never runs scripts itself */
  scope_t root;
  scope_t services; /* tasks beside the script's own: no signal cancels them, the end of the script does */
  waitlist_t ready;
  heap_t heap;
  uv_timer_t timer;
  uint64_t timer_at; /* what the timer is set to */
  uv_async_t signal; /* wakes the loop from a signal handler */
  task_t *running;
  uint64_t running_since;
  uint32_t next_id;
  int tasks_ref;   /* registry: the table of live tasks */
  int handler_ref; /* registry: message handler at each task's base */
  int kind_ref;    /* registry: "kind" */
  timer_t watchdog;
  bool has_watchdog;
  bool spin_told;
  bool in_loop; /* uv_run is under way: waking a task must keep it from sleeping */
  uint8_t nested;
  uint64_t switches;
  void (*interrupt)(void *arg); /* see scheduler_take_interrupts */
  void *interrupt_arg;
  /* raises the structured error for an interrupted wait; the binding of errors sets it */
  int (*raise_interrupt)(lua_State *L, const task_t *t, const char *operation, bool outcome_unknown);
} scheduler_t;

/* Returns 0 or a negative uv error. */
int scheduler_init(scheduler_t *s, uv_loop_t *loop);

/* Gives it its Lua state; may raise. Pops the function on top of L's stack: it is called with a task's uncaught error
 * and returns what the task ends with. */
void scheduler_open(scheduler_t *s, lua_State *L);

/* Runs until `task` has ended. False when everything that is left waits for itself: nothing can ever wake it. */
bool scheduler_run(scheduler_t *s, task_t *task);

/* Runs everything until `task` has ended, while the running task, whose call this is, stands still where it is: for what
 * must wait where no yield is possible. False as for scheduler_run, and when it is nested too deeply already. */
bool scheduler_nest(scheduler_t *s, task_t *task);

/* Cancels the services and runs what is left until they have ended, or this time (ns) has passed. */
void scheduler_end_services(scheduler_t *s, uint64_t most);

/* Cancels everything outside shields: what a signal handler asked for, by way of scheduler_signal. */
void scheduler_cancel(scheduler_t *s);

/* Async-signal-safe: cancels the root as soon as the loop or a spinning script gets there. */
void scheduler_signal(scheduler_t *s, int signo);

/* From now on SIGINT calls `interrupt`, on the loop or out of a script that spins, and the root is left alone; it must
 * not run Lua. Where two came and a third comes, that one is as without. NULL: as without. The count begins anew. */
void scheduler_take_interrupts(scheduler_t *s, void (*interrupt)(void *arg), void *arg);

/* The signal that was received; 0 without. */
int scheduler_signalled(void);

/* Closes the handles; run the loop once more afterwards, then scheduler_free. */
void scheduler_stop(scheduler_t *s);
void scheduler_free(scheduler_t *s);

/* The scheduler of a Lua state, by way of its extra space. */
scheduler_t *scheduler_of(lua_State *L);

/* For a coroutine of the script's own: lets deadlines and Ctrl-C reach it while it spins. */
void scheduler_watch(lua_State *co);

#endif
