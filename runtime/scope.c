/* scope.c - the tree of deadlines and cancellation; see task.h for its shape. */
#include <lauxlib.h>

#include "scheduler.h"

static void task_interrupt(task_t *t) {
  if (!t->uninterruptible) task_wake(t, WAKE_CANCELLED);
}

void scope_open(scope_t *s, task_t *t, uint64_t relative, bool shield) {
  scope_t *parent = t->scope;
  uint64_t now = uv_hrtime();
  uint64_t deadline = relative < TASK_NEVER - now ? now + relative : TASK_NEVER;
  *s = (scope_t){.scheduler = t->scheduler, .parent = parent, .owner = t, .shield = shield, .open = true};
  s->deadline = shield || deadline < parent->deadline ? deadline : parent->deadline;
  s->anchor = LUA_NOREF;
  if (!shield) s->cancel = parent->cancel ? parent->cancel : parent == t->base ? t->cancel : CANCEL_NONE;
  s->next = parent->children;
  if (s->next) s->next->prev = s;
  parent->children = s;
  t->scope = s;
}

void scope_close(lua_State *L, scope_t *s) {
  if (!s->open) return;
  s->open = false;
  if (s->prev)
    s->prev->next = s->next;
  else
    s->parent->children = s->next;
  if (s->next) s->next->prev = s->prev;
  if (s->owner && s->owner->scope == s) s->owner->scope = s->parent;
  luaL_unref(L, LUA_REGISTRYINDEX, s->anchor);
  s->anchor = LUA_NOREF;
}

void scope_cancel(scope_t *s, cancel_reason_t reason) {
  if (s->cancel) return;
  s->cancel = (uint8_t)reason;
  for (task_t *t = s->tasks; t; t = t->sibling_next)
    if (t->scope == s) task_interrupt(t);
  if (s->owner && s->owner->scope == s) task_interrupt(s->owner);
  for (scope_t *c = s->children; c; c = c->next)
    if (!c->shield) scope_cancel(c, reason);
}

void task_cancel(task_t *t, cancel_reason_t reason) {
  if (t->cancel || t->state >= TASK_DONE) return;
  t->cancel = (uint8_t)reason;
  if (t->scope == t->base) {
    task_interrupt(t);
    return;
  }
  scope_t *outermost = t->scope;
  while (outermost->parent != t->base) outermost = outermost->parent;
  if (!outermost->shield) scope_cancel(outermost, reason);
}

wake_cause_t task_pending_interrupt(const task_t *t) {
  if (t->scope->cancel || (t->scope == t->base && t->cancel)) return WAKE_CANCELLED;
  if (t->scope->deadline != TASK_NEVER && uv_hrtime() >= t->scope->deadline) return WAKE_DEADLINE;
  return WAKE_DONE;
}
