/* task_internal.h - what task.c and scheduler.c share and nobody else needs. */
#ifndef PGAFRUN_TASK_INTERNAL_H
#define PGAFRUN_TASK_INTERNAL_H

#include "task.h"

#define TASK_METATABLE "pgafrun.Task"

void waitlist_append(waitlist_t *list, task_t *t);
void waitlist_remove(task_t *t);

/* Books the end of a task whose coroutine has returned; results or error stay on its stack. May free t's anchor:
 * t must not be used afterwards unless held otherwise. */
void task_end(lua_State *L, task_t *t, int status);

#endif
