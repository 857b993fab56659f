#include "scripts.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCRIPTS_MAX = 200, SUMMARY_BYTES = 160, NAME_BYTES = 64 };

typedef struct scripts {
  char *names[SCRIPTS_MAX]; /* sorted, without ".lua" */
  size_t count;
} scripts_t;

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool scripts_has(const scripts_t *scripts, const char *name) {
  for (size_t i = 0; i < scripts->count; i++)
    if (strcmp(scripts->names[i], name) == 0) return true;
  return false;
}

static void scripts_add(scripts_t *scripts, const char *file) {
  size_t size = strlen(file);
  if (size <= 4 || size >= NAME_BYTES || strcmp(file + size - 4, ".lua") != 0) return;
  char name[NAME_BYTES];
  snprintf(name, sizeof name, "%.*s", (int)size - 4, file);
  if (scripts->count == SCRIPTS_MAX || scripts_has(scripts, name)) return;
  char *copy = strdup(name);
  if (copy) scripts->names[scripts->count++] = copy;
}

static void scripts_find(scripts_t *scripts, const paths_t *paths) {
  scripts->count = 0;
  for (int i = 0; i < paths->count; i++) {
    char *folder = NULL;
    if (asprintf(&folder, "%s/scripts", paths->roots[i]) < 0) return;
    DIR *dir = opendir(folder);
    free(folder);
    if (!dir) continue;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) scripts_add(scripts, entry->d_name);
    closedir(dir);
  }
  qsort(scripts->names, scripts->count, sizeof scripts->names[0], compare);
}

static void scripts_free(scripts_t *scripts) {
  for (size_t i = 0; i < scripts->count; i++) free(scripts->names[i]);
}

/* The first sentence of the comment at the head of the file, which may go over some lines. */
static void read_summary(const char *path, char *to, size_t room) {
  char line[300];
  size_t size = 0;
  to[0] = 0;
  FILE *f = fopen(path, "re");
  while (f && size + 2 < room && fgets(line, sizeof line, f)) {
    if (strncmp(line, "#!", 2) == 0) continue;
    if (strncmp(line, "-- ", 3) != 0) break;
    line[strcspn(line, "\n")] = 0;
    int n = snprintf(to + size, room - size, "%s%s", size ? " " : "", line + 3);
    size = n < 0 || (size_t)n >= room - size ? room - 1 : size + (size_t)n;
    char *end = strstr(to, ". ");
    if (end) *end = 0;
    if (end || (size && to[size - 1] == '.')) break;
  }
  if (f) fclose(f);
  size = strlen(to);
  if (size && to[size - 1] == '.') to[size - 1] = 0;
}

static char *script_path(const paths_t *paths, const char *name) {
  for (int i = 0; i < paths->count; i++) {
    char *path = NULL;
    if (asprintf(&path, "%s/scripts/%s.lua", paths->roots[i], name) < 0) return NULL;
    if (access(path, R_OK) == 0) return path;
    free(path);
  }
  return NULL;
}

void scripts_print(const paths_t *paths) {
  scripts_t scripts;
  scripts_find(&scripts, paths);
  if (scripts.count) puts("\nScripts that come with it:");
  for (size_t i = 0; i < scripts.count; i++) {
    char summary[SUMMARY_BYTES];
    char *path = script_path(paths, scripts.names[i]);
    read_summary(path ? path : "", summary, sizeof summary);
    printf("  %-18s %s\n", scripts.names[i], summary);
    free(path);
  }
  scripts_free(&scripts);
}

bool scripts_is_name(const char *name) {
  size_t size = strlen(name);
  return !strchr(name, '/') && (size < 4 || strcmp(name + size - 4, ".lua") != 0);
}

static size_t smallest(size_t a, size_t b, size_t c) {
  size_t ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* How many letters have to be added, left out or replaced (Levenshtein's distance) to make b of a. */
static size_t distance(const char *a, const char *b) {
  size_t row[NAME_BYTES + 1], n = strlen(b);
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; a[i - 1]; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
      size_t here = smallest(row[j] + 1, row[j - 1] + 1, diagonal + !same);
      diagonal = row[j];
      row[j] = here;
    }
  }
  return row[n];
}

/* The name that was probably meant: nearly the same, or the only one that this is a part of. NULL without. */
static const char *nearest(const scripts_t *scripts, const char *name) {
  const char *best = NULL, *whole = NULL;
  size_t size = strlen(name), near = size < 6 ? 2 : size / 3 + 1, parts = 0;
  for (size_t i = 0; i < scripts->count; i++) {
    size_t d = distance(name, scripts->names[i]);
    if (d < near) {
      best = scripts->names[i];
      near = d;
    }
    if (size >= 3 && strstr(scripts->names[i], name)) {
      whole = scripts->names[i];
      parts++;
    }
  }
  return best ? best : parts == 1 ? whole : NULL;
}

void scripts_complain(const paths_t *paths, const char *name) {
  scripts_t scripts;
  scripts_find(&scripts, paths);
  const char *meant = nearest(&scripts, name);
  fprintf(stderr, "pgafrun: no such script or command: %s", name);
  if (meant) fprintf(stderr, "; did you mean %s?", meant);
  for (size_t i = 0; i < scripts.count; i++)
    fprintf(stderr, "%s%s", i ? ", " : meant ? " There are: " : "; there are: ", scripts.names[i]);
  fputs("\n", stderr);
  scripts_free(&scripts);
}
