/* yaml_scalar.h - what the text of an unquoted YAML scalar means: the core schema of YAML 1.2.
 *
 * So null is "", ~ and null; booleans are true and false, not yes, no, on and off; 010 is ten and 0o10 eight; all else,
 * also dates, is text.
 */
#ifndef PGAFRUN_YAML_SCALAR_H
#define PGAFRUN_YAML_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

/* Pushes the value of a plain scalar and returns NULL; or pushes nothing and returns what is wrong with it. text ends with
 * a zero at size. */
const char *scalar_push(lua_State *L, const char *text, size_t size);

/* As scalar_push, for a scalar with a standard tag (tag:yaml.org,2002:...); false when it is not one of those. */
bool scalar_push_as(lua_State *L, const char *tag, const char *text, size_t size, const char **problem);

#endif
