/* editor_search.c - Ctrl-R: the newest line of the history that holds what is typed; again, the one before it. */
#include <stdlib.h>
#include <string.h>

#include "editor_internal.h"

enum { CTRL_G = 7, BACKSPACE = 8, CTRL_R = 18, DELETE = 0x7f };

/* The skip-th line, from the newest, that holds it; NULL when there is none. */
static const wchar_t *find(editor_t *e, int skip) {
  HistEventW event;
  const editor_search_t *s = &e->search;
  for (int r = history_w(e->history, &event, H_FIRST); r >= 0; r = history_w(e->history, &event, H_NEXT))
    if (wcsstr(event.str, s->wanted) && skip-- == 0) return event.str;
  return NULL;
}

static void set_prompt(editor_search_t *s) {
  swprintf(s->prompt, sizeof s->prompt / sizeof *s->prompt, L"(%lssearch '%ls') ",
           s->failed ? L"no match, " : L"", s->wanted);
}

static void search_again(editor_t *e, int skip) {
  editor_search_t *s = &e->search;
  const wchar_t *found = s->length ? find(e, skip) : L"";
  editor_erase(e);
  s->failed = !found;
  if (found) {
    s->skip = skip;
    editor_replace(e, found, true);
  }
  set_prompt(s);
  editor_draw(e);
}

void editor_search_begin(editor_t *e) {
  editor_search_t *s = &e->search;
  const LineInfoW *line = el_wline(e->el);
  size_t length = (size_t)(line->lastchar - line->buffer);
  wchar_t *before = malloc((length + 1) * sizeof *before);
  if (!before) return;
  memcpy(before, line->buffer, length * sizeof *before);
  before[length] = 0;
  editor_erase(e);
  *s = (editor_search_t){.on = true, .before = before};
  set_prompt(s);
  editor_draw(e);
}

void editor_search_end(editor_t *e, bool keep) {
  editor_search_t *s = &e->search;
  if (!s->on) return;
  editor_erase(e);
  s->on = false;
  if (!keep) editor_replace(e, s->before, true);
  free(s->before);
  s->before = NULL;
  editor_draw(e);
}

static void search_add(editor_t *e, const editor_token_t *token) {
  editor_search_t *s = &e->search;
  for (size_t i = 0; i < token->text_length && s->length < EDITOR_SEARCH_LENGTH; i++)
    s->wanted[s->length++] = token->text[i];
  s->wanted[s->length] = 0;
  search_again(e, s->skip);
}

bool editor_search_token(editor_t *e, const editor_token_t *token) {
  editor_search_t *s = &e->search;
  if (token->kind == EDITOR_TEXT) {
    search_add(e, token);
    return true;
  }
  wchar_t key = token->kind == EDITOR_KEY && token->key_length == 1 ? token->key[0] : 0;
  if (key == CTRL_R) {
    search_again(e, s->skip + 1);
    return true;
  }
  if (key == BACKSPACE || key == DELETE) {
    if (s->length > 0) s->wanted[--s->length] = 0;
    search_again(e, 0);
    return true;
  }
  editor_search_end(e, key != CTRL_G);
  return key == CTRL_G;
}
