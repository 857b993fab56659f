/* mask.h - the last line of defence for secrets: texts that are known to be secret are replaced by "<secret>" in whatever
 * is about to be shown. */
#ifndef PGAFRUN_MASK_H
#define PGAFRUN_MASK_H

#include <lua.h>

/* Replaces the string on top of the stack by one without the texts given to mask.add. Raises only for lack of memory. */
void mask_top(lua_State *L);

#endif
