/* time.c - the monotonic clock for measuring, the wall clock for people. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include <lauxlib.h>
#include <uv.h>

#include "modules.h"

static int ltime_now(lua_State *L) {
  lua_pushnumber(L, (double)uv_hrtime() / 1e9);
  return 1;
}

static double wall(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int ltime_wall(lua_State *L) {
  lua_pushnumber(L, wall());
  return 1;
}

static int ltime_iso(lua_State *L) {
  double at = luaL_optnumber(L, 1, wall());
  time_t seconds = (time_t)floor(at);
  int millis = (int)((at - (double)seconds) * 1000);
  struct tm utc;
  char day[32];
  if (!(at > -6e10 && at < 2.5e11) || !gmtime_r(&seconds, &utc)) return luaL_argerror(L, 1, "not a time");
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
  lua_pushfstring(L, "%s.%d%d%dZ", day, millis / 100, millis / 10 % 10, millis % 10);
  return 1;
}

int luaopen_pgafrun_time(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"now", ltime_now}, {"wall", ltime_wall}, {"iso", ltime_iso}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
