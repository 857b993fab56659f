/* editor_bindings.c - which keys do what, beside libedit's own for Emacs. */
#include <stdlib.h>
#include <string.h>

#include "editor_internal.h"

static const char *const bindings[][2] = {
    {"^W", "ed-delete-prev-word"}, /* one a line */
    {"\033[3~", "ed-delete-next-char"},
    {"\033[H", "ed-move-to-beg"},
    {"\033[F", "ed-move-to-end"},
    {"\033[1~", "ed-move-to-beg"},
    {"\033[4~", "ed-move-to-end"},
    {"\033OH", "ed-move-to-beg"},
    {"\033OF", "ed-move-to-end"},
    {"\033[1;5C", "em-next-word"},
    {"\033[1;5D", "ed-prev-word"},
    {"\033[A", "ed-prev-history"},
    {"\033[B", "ed-next-history"},
    {"\033[C", "ed-next-char"},
    {"\033[D", "ed-prev-char"},
    {"\033OA", "ed-prev-history"},
    {"\033OB", "ed-next-history"},
    {"\033OC", "ed-next-char"},
    {"\033OD", "ed-prev-char"},
    {"\033p", "ed-search-prev-history"},
    {"\033n", "ed-search-next-history"},
    /* these read on by themselves */
    {"^V", "ed-unassigned"},
    {"^Q", "ed-unassigned"},
    {"^R", "ed-unassigned"},
    {"^S", "ed-unassigned"},
    {"\033x", "ed-unassigned"},
    {"\033X", "ed-unassigned"},
};

enum { BINDINGS = sizeof bindings / sizeof *bindings };

void editor_bind_keys(EditLine *el) {
  for (size_t i = 0; i < BINDINGS; i++) el_set(el, EL_BIND, bindings[i][0], bindings[i][1], NULL);
}

static bool is_same(const editor_token_t *token, const char *sequence) {
  if (strlen(sequence) != (size_t)token->key_length) return false;
  for (int i = 0; i < token->key_length; i++)
    if (token->key[i] != (wchar_t)(unsigned char)sequence[i]) return false;
  return true;
}

/* Of a sequence that it does not know, libedit would insert a part. */
bool editor_knows_key(const editor_token_t *token) {
  if (token->key_length <= 2) return true;
  for (size_t i = 0; i < BINDINGS; i++)
    if (is_same(token, bindings[i][0])) return true;
  return false;
}
