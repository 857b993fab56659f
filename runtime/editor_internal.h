/* editor_internal.h - what editor.c, editor_screen.c and editor_search.c share. */
#ifndef PGAFRUN_EDITOR_INTERNAL_H
#define PGAFRUN_EDITOR_INTERNAL_H

#include <locale.h>
#include <stdio.h>
#include <termios.h>

#include <histedit.h>

#include "editor.h"
#include "editor_keys.h"

enum { EDITOR_SEARCH_LENGTH = 128 };

typedef struct editor_read {
  op_t op;
  editor_t *editor; /* NULL once it is through */
  editor_end_t end;
  bytes_t line;
} editor_read_t;

/* A search through the history, while it is on. */
typedef struct editor_search {
  bool on;
  wchar_t wanted[EDITOR_SEARCH_LENGTH + 1];
  int length;
  int skip; /* this many lines that fit are newer than the one shown */
  bool failed;
  wchar_t prompt[EDITOR_SEARCH_LENGTH + 32];
  wchar_t *before; /* the line as it was */
} editor_search_t;

struct editor {
  uv_loop_t *loop;
  uv_poll_t poll;
  uv_async_t again; /* keys that have come before they could be looked at */
  uv_signal_t resized, stopped, continued;
  int handles; /* initialised and not yet closed */
  int in_fd;
  struct termios mode; /* while a line is wanted */
  FILE *in, *out;
  EditLine *el;
  HistoryW *history;
  locale_t locale, outer;
  wchar_t *prompt;
  editor_keys_t keys;
  const wchar_t *key; /* the key that libedit is given */
  int key_at, key_length;
  editor_read_t *read; /* NULL: no line is wanted */
  editor_search_t search;
  int hidden; /* editor_hide less editor_show */
  bool completing;
  bool closing;
};

/* libedit looks at the thread's locale; the rest of the program keeps its own. */
void editor_enter(editor_t *e);
void editor_leave(editor_t *e);

/* --- editor_bindings.c --- */

void editor_bind_keys(EditLine *el);
bool editor_knows_key(const editor_token_t *token);

/* --- editor_screen.c: to be called between enter and leave --- */

/* Takes prompt and line away; the cursor stands where the prompt began. */
void editor_erase(editor_t *e);
/* Draws them, from where the cursor stands. */
void editor_draw(editor_t *e);
/* Puts `text` in the place of what is before the cursor, or of all. Draws nothing. */
void editor_replace(editor_t *e, const wchar_t *text, bool all);
const wchar_t *editor_prompt(EditLine *el);

/* --- editor_search.c: the same --- */

void editor_search_begin(editor_t *e);
/* Takes a token that comes while the search is on. True: it was used up; false: the search is over, and the token is for
 * the line. */
bool editor_search_token(editor_t *e, const editor_token_t *token);
/* Ends it; the line shown stays, or the one before it comes back. */
void editor_search_end(editor_t *e, bool keep);

#endif
