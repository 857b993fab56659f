#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_LOG_FORMAT = 256, OPT_VERSION, OPT_DEADLINE, OPT_BREAK_ON_FAILURE, OPT_ATTACHABLE };

static const struct option long_options[] = {{"help", no_argument, NULL, 'h'},
                                             {"inventory", required_argument, NULL, 'i'},
                                             {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"deadline", required_argument, NULL, OPT_DEADLINE},
                                             {"break-on-failure", no_argument, NULL, OPT_BREAK_ON_FAILURE},
                                             {"attachable", no_argument, NULL, OPT_ATTACHABLE},
                                             {"verbose", no_argument, NULL, 'v'},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {NULL, 0, NULL, 0}};

void options_print_help(void) {
  puts("Usage: pgafrun [options] SCRIPT.lua [arguments of the script]\n"
       "       pgafrun [options] NAME [arguments]            runs scripts/NAME.lua\n"
       "       pgafrun [options] -e CODE [arguments]\n"
       "\n"
       "Options:\n"
       "  -i, --inventory FILE   which nodes there are and how they shall be; scripts ask for it\n"
       "  -e CODE                run CODE instead of a file\n"
       "  -v, --verbose          tell more; twice: tracebacks too\n"
       "  -q, --quiet            only warnings and errors; twice: only errors\n"
       "      --log-format FMT   text (default) or json, on standard error\n"
       "      --deadline SECONDS end the script after this time, putting things back (default 14400)\n"
       "      --break-on-failure open a prompt where a task fails, with its variables, before anything is "
       "undone\n"
       "      --attachable       let `pgafrun attach` look into this run; also $PGAFRUN_ATTACHABLE=1\n"
       "      --version          version, and those of the libraries\n"
       "  -h, --help             this text;  pgafrun SCRIPT --help  tells a script's own arguments\n"
       "\n"
       "Exit code: the integer that the script returns, 0 without; 1 after an error; 64 wrong usage;\n"
       "130 and 143 when ended by SIGINT and SIGTERM.\n"
       "Scripts and their library are looked up in $PGAFRUN_PATH (a list of folders, separated by ':'),\n"
       "beside the program (a checkout), or in the installation's share/pgafrun.");
}

static int usage(const char *format, const char *what) {
  fputs("pgafrun: ", stderr);
  fprintf(stderr, "%s%s", format, what ? what : "");
  fputs(" (pgafrun --help tells the usage)\n", stderr);
  return EXIT_USAGE;
}

static int parse_seconds(const char *text, double *seconds) {
  char *end;
  *seconds = strtod(text, &end);
  if (end == text || *end || !(*seconds > 0) || *seconds > 1e8)
    return usage("--deadline wants seconds, not ", text);
  return 0;
}

static int parse_log_format(const char *text, bool *json) {
  *json = strcmp(text, "json") == 0;
  return *json || strcmp(text, "text") == 0 ? 0 : usage("--log-format wants text or json, not ", text);
}

static int parse_option(options_t *o, int opt, char **argv, int at) {
  switch (opt) {
  case 'h': o->help = true; return 0;
  case 'i': o->inventory = optarg; return 0;
  case 'e': o->code = optarg; return 0;
  case 'v': o->verbosity++; return 0;
  case 'q': o->verbosity--; return 0;
  case OPT_VERSION: o->version = true; return 0;
  case OPT_BREAK_ON_FAILURE: o->break_on_failure = true; return 0;
  case OPT_ATTACHABLE: o->attachable = true; return 0;
  case OPT_LOG_FORMAT: return parse_log_format(optarg, &o->log.json);
  case OPT_DEADLINE: o->has_deadline = true; return parse_seconds(optarg, &o->deadline);
  case ':': return usage("a value is missing after ", argv[at]);
  default: return usage("unknown option ", argv[at]);
  }
}

static bool is_set(const char *name) {
  const char *value = getenv(name);
  return value && *value && strcmp(value, "0") != 0;
}

int options_parse(options_t *o, int argc, char **argv) {
  memset(o, 0, sizeof *o);
  o->deadline = 14400;
  o->attachable = is_set("PGAFRUN_ATTACHABLE");
  opterr = 0;
  for (;;) {
    int at = optind;
    /* '+': stop at the script's name, what follows is its own */
    int opt = getopt_long(argc, argv, "+:hi:e:vq", long_options, NULL);
    if (opt < 0) break;
    int status = parse_option(o, opt, argv, at);
    if (status) return status;
  }
  o->log.level = o->verbosity > 0     ? LOG_DEBUG
                 : o->verbosity == 0  ? LOG_INFO
                 : o->verbosity == -1 ? LOG_WARN
                                      : LOG_ERROR;
  if (o->help || o->version) return 0;
  if (!o->code) {
    if (optind >= argc) return usage("which script?", NULL);
    o->script = argv[optind++];
  }
  o->arguments = argv + optind;
  o->argument_count = argc - optind;
  return 0;
}
