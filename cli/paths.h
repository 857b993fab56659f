/* paths.h - where stdlib/ and scripts/ are: $PGAFRUN_PATH, the checkout around the program, the installation. */
#ifndef PGAFRUN_PATHS_H
#define PGAFRUN_PATHS_H

enum { PATHS_MAX = 8 };

typedef struct paths {
  char *roots[PATHS_MAX]; /* folders that hold stdlib/ and scripts/, first wins */
  int count;
  char *lua_path; /* for package.path */
} paths_t;

void paths_init(paths_t *paths);
void paths_free(paths_t *paths);

/* The script's file: NAME as it is if there is such a file; else ROOT/scripts/NAME.lua, and for what looks like a path
 * ROOT/scripts/NAME and ROOT/NAME too. A name is looked for once more with '_' for each '-' in it. NULL when there is
 * none. The caller frees it. */
char *paths_script(const paths_t *paths, const char *name);

#endif
