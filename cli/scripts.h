/* scripts.h - the scripts that come with pgafrun, which are its commands: `pgafrun NAME` runs scripts/NAME.lua. */
#ifndef PGAFRUN_SCRIPTS_H
#define PGAFRUN_SCRIPTS_H

#include <stdbool.h>

#include "paths.h"

/* Prints each name with what the comment at the head of its file says first. */
void scripts_print(const paths_t *paths);

/* Could name be one of them, rather than a path? */
bool scripts_is_name(const char *name);

/* Says on standard error, in one line, that there is no script of this name, what was probably meant and what there is. */
void scripts_complain(const paths_t *paths, const char *name);

#endif
