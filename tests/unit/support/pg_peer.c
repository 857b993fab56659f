#include "pg_peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_body(peer_t *peer, uint32_t length) {
  if (length < 4 || length - 4 >= sizeof peer->text) return false;
  peer->size = length - 4;
  if (!peer_read(peer, peer->text, peer->size)) return false;
  peer->text[peer->size] = 0;
  return true;
}

static uint32_t number_at(const char *text) {
  uint32_t n;
  memcpy(&n, text, 4);
  return ntohl(n);
}

uint32_t pg_peer_first(peer_t *peer) {
  char head[4];
  if (!peer_read(peer, head, 4) || !read_body(peer, number_at(head)) || peer->size < 4) return 0;
  return number_at(peer->text);
}

bool pg_peer_startup(peer_t *peer) {
  uint32_t code;
  while ((code = pg_peer_first(peer)) == PG_PEER_SSL)
    if (!peer_say(peer, "N")) return false;
  return code == PG_PEER_STARTUP;
}

char pg_peer_read(peer_t *peer) {
  char head[5];
  if (!peer_read(peer, head, 5) || !read_body(peer, number_at(head + 1))) return 0;
  return head[0];
}

bool pg_peer_read_until(peer_t *peer, char type) {
  char got;
  while ((got = pg_peer_read(peer)) && got != type) {}
  return got != 0;
}

static void append(pg_script_t *s, const void *data, size_t size) {
  if (size > sizeof s->bytes - s->size) abort();
  memcpy(s->bytes + s->size, data, size);
  s->size += size;
}

void pg_say(pg_script_t *s, char type, const void *body, size_t size) {
  uint32_t length = htonl((uint32_t)size + 4);
  append(s, &type, 1);
  append(s, &length, 4);
  append(s, body, size);
}

static void say_parameter(pg_script_t *s, const char *name, const char *value) {
  char body[200];
  int n = snprintf(body, sizeof body, "%s%c%s", name, 0, value);
  pg_say(s, 'S', body, (size_t)n + 1);
}

void pg_say_ready(pg_script_t *s) { pg_say(s, 'Z', "I", 1); }

void pg_say_welcome(pg_script_t *s, const char *in_hot_standby, const char *read_only) {
  pg_say(s, 'R', "\0\0\0\0", 4);
  say_parameter(s, "server_version", "15.4");
  say_parameter(s, "client_encoding", "UTF8");
  if (in_hot_standby) say_parameter(s, "in_hot_standby", in_hot_standby);
  if (read_only) say_parameter(s, "default_transaction_read_only", read_only);
  pg_say(s, 'K', "\0\0\0\115\1\2\3\4", 8);
  pg_say_ready(s);
}

void pg_say_columns(pg_script_t *s) {
  /* one column: name, table 0, attribute 0, type 23, size 4, modifier -1, text */
  static const char body[] = "\0\1n\0\0\0\0\0\0\0\0\0\0\27\0\4\377\377\377\377\0\0";
  pg_say(s, 'T', body, sizeof body - 1);
}

void pg_say_row(pg_script_t *s, const char *value) {
  char body[200] = "\0\1";
  uint32_t length = htonl((uint32_t)strlen(value));
  memcpy(body + 2, &length, 4);
  memcpy(body + 6, value, strlen(value));
  pg_say(s, 'D', body, 6 + strlen(value));
}

void pg_say_complete(pg_script_t *s, const char *tag) { pg_say(s, 'C', tag, strlen(tag) + 1); }

void pg_say_one(pg_script_t *s, const char *value) {
  pg_say(s, '1', "", 0);
  pg_say(s, '2', "", 0);
  pg_say_columns(s);
  pg_say_row(s, value);
  pg_say_complete(s, "SELECT 1");
}

static void say_fields(pg_script_t *s, char type, const char *severity, const char *sqlstate,
                       const char *message) {
  char body[500];
  int n = snprintf(body, sizeof body, "S%s%cV%s%cC%s%cM%s%cDthe detail%cHthe hint%c", severity, 0, severity,
                   0, sqlstate, 0, message, 0, 0, 0);
  pg_say(s, type, body, (size_t)n + 1);
}

void pg_say_error(pg_script_t *s, const char *severity, const char *sqlstate, const char *message) {
  say_fields(s, 'E', severity, sqlstate, message);
}

void pg_say_notice(pg_script_t *s, const char *sqlstate, const char *message) {
  say_fields(s, 'N', "WARNING", sqlstate, message);
}

void pg_say_notification(pg_script_t *s, const char *channel, const char *payload) {
  char body[500];
  int n = snprintf(body, sizeof body, "%c%c%c%c%s%c%s", 0, 0, 0, 99, channel, 0, payload);
  pg_say(s, 'A', body, (size_t)n + 1);
}

bool pg_send(peer_t *peer, const pg_script_t *s) { return peer_write(peer, s->bytes, s->size); }

bool pg_peer_welcome(peer_t *peer) {
  pg_script_t s = {.size = 0};
  if (!pg_peer_startup(peer)) return false;
  pg_say_welcome(&s, "off", "off");
  return pg_send(peer, &s);
}
