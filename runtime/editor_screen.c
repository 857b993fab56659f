/* editor_screen.c - where the line being typed stands on the screen, and what is shown above it.
 *
 * libedit does not tell how many rows its line takes, so they are counted as it counts: a character that does not fit
 * into its row begins the next; a full row is left at once; a control character is shown as two. */
#include <stdlib.h>
#include <string.h>

#include "editor_internal.h"
#include "tty.h"

typedef struct place {
  int row, column, columns;
} place_t;

static void place_newline(place_t *p) {
  p->row++;
  p->column = 0;
}

static void place_add(place_t *p, wchar_t c) {
  int width = c == '\t' ? 8 - p->column % 8 : c < 0x20 || c == 0x7f ? 2 : wcwidth(c);
  if (c == '\n') {
    place_newline(p);
    return;
  }
  if (width < 0) width = 8; /* shown by its number: \U+xxxx */
  if (p->column + width > p->columns && width == 2 && c > 0x7f) place_newline(p);
  p->column += width;
  while (p->column >= p->columns) {
    p->row++;
    p->column -= p->columns;
  }
}

/* Rows from the prompt's to the cursor's, at most what the screen has. */
static int cursor_row(editor_t *e) {
  int columns = 80, rows = 24;
  tty_size(e->in_fd, &columns, &rows);
  place_t p = {.columns = columns > 1 ? columns : 2};
  for (const wchar_t *c = editor_prompt(e->el); *c; c++) place_add(&p, *c);
  const LineInfoW *line = el_wline(e->el);
  for (const wchar_t *c = line->buffer; c < line->cursor; c++) place_add(&p, *c);
  return p.row < rows ? p.row : rows - 1;
}

const wchar_t *editor_prompt(EditLine *el) {
  void *data = NULL;
  el_wget(el, EL_CLIENTDATA, &data);
  const editor_t *e = data;
  return e->search.on ? e->search.prompt : e->prompt ? e->prompt : L"";
}

void editor_erase(editor_t *e) {
  int row = cursor_row(e);
  fputs("\r", e->out);
  if (row > 0) fprintf(e->out, "\033[%dA", row);
  fputs("\033[J", e->out);
}

void editor_draw(editor_t *e) {
  el_wset(e->el, EL_REFRESH);
  fflush(e->out);
}

void editor_replace(editor_t *e, const wchar_t *text, bool all) {
  const LineInfoW *line = el_wline(e->el);
  if (all) el_cursor(e->el, (int)(line->lastchar - line->cursor));
  line = el_wline(e->el);
  el_wdeletestr(e->el, (int)(line->cursor - line->buffer));
  if (*text) el_winsertstr(e->el, text);
}

/* --- beside the line ------------------------------------------------------------------------------------- */

void editor_hide(editor_t *e) {
  if (e->hidden++ > 0 || !e->read) return;
  editor_enter(e);
  editor_erase(e);
  fflush(e->out);
  editor_leave(e);
}

void editor_show(editor_t *e) {
  if (--e->hidden > 0 || !e->read) return;
  editor_enter(e);
  editor_draw(e);
  editor_leave(e);
}

void editor_print_above(editor_t *e, const char *text, size_t size) {
  bool drawn = e->read && e->hidden == 0;
  fflush(stdout);
  editor_enter(e);
  if (drawn) editor_erase(e);
  fwrite(text, 1, size, e->out);
  if (size == 0 || text[size - 1] != '\n') putc('\n', e->out);
  if (drawn)
    editor_draw(e);
  else
    fflush(e->out);
  editor_leave(e);
}
