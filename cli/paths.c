#include "paths.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scripts.h"

static char *join(const char *a, const char *b, const char *c) {
  char *text = NULL;
  return asprintf(&text, "%s%s%s", a, b, c) < 0 ? NULL : text;
}

static bool is_file(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static void add_root(paths_t *p, const char *root) {
  char *mark = join(root, "/stdlib/", "pgaf");
  if (p->count < PATHS_MAX && mark && access(mark, R_OK) == 0) p->roots[p->count++] = realpath(root, NULL);
  free(mark);
}

static void add_listed(paths_t *p, const char *list) {
  char *copy = strdup(list), *rest = copy;
  for (char *root; copy && (root = strsep(&rest, ":")) != NULL;)
    if (*root) add_root(p, root);
  free(copy);
}

static void add_around_program(paths_t *p) {
  char exe[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (n <= 0) return;
  exe[n] = 0;
  char *slash = strrchr(exe, '/');
  if (!slash) return;
  *slash = 0;
  static const char *const beside[] = {"/..", "/../share/pgafrun"};
  for (int i = 0; i < 2; i++) {
    char *root = join(exe, beside[i], "");
    if (root) add_root(p, root);
    free(root);
  }
}

void paths_init(paths_t *p) {
  memset(p, 0, sizeof *p);
  const char *list = getenv("PGAFRUN_PATH");
  if (list) add_listed(p, list);
  add_around_program(p);
  add_root(p, PGAFRUN_DATA_DIR);
  size_t size = 0;
  FILE *out = open_memstream(&p->lua_path, &size);
  if (!out) return;
  for (int i = 0; i < p->count; i++)
    fprintf(out, "%s/stdlib/?.lua;%s/stdlib/?/init.lua;", p->roots[i], p->roots[i]);
  fputs("/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua", out);
  fclose(out);
}

void paths_free(paths_t *p) {
  for (int i = 0; i < p->count; i++) free(p->roots[i]);
  free(p->lua_path);
}

static char *find_script(const paths_t *p, const char *name) {
  static const char *const places[][2] = {{"/scripts/", ".lua"}, {"/scripts/", ""}, {"/", ""}};
  int count = scripts_is_name(name) ? 1 : 3;
  for (int i = 0; i < p->count; i++) {
    for (int k = 0; k < count; k++) {
      char *folder = join(p->roots[i], places[k][0], "");
      char *path = folder ? join(folder, name, places[k][1]) : NULL;
      free(folder);
      if (path && is_file(path)) return path;
      free(path);
    }
  }
  return NULL;
}

/* A name may be typed with dashes: add-node is scripts/add_node.lua. */
static char *find_dashed(const paths_t *p, const char *name) {
  char *file = strdup(name);
  for (char *c = file; c && *c; c++)
    if (*c == '-') *c = '_';
  char *path = file ? find_script(p, file) : NULL;
  free(file);
  return path;
}

char *paths_script(const paths_t *p, const char *name) {
  if (is_file(name)) return strdup(name);
  if (*name == '/' || *name == '.') return NULL;
  char *path = find_script(p, name);
  return path || !scripts_is_name(name) ? path : find_dashed(p, name);
}
