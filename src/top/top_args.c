#include "top/top_args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

const char top_usage_text[] =
	"Usage: pgsluice top [OPTION]... [CONNINFO]\n"
	"Shows the pools of a running pooler (PgBouncer too) and what passes through.\n"
	"\n"
	"  -h, --host=HOST          host, or directory of the Unix socket\n"
	"  -p, --port=PORT\n"
	"  -U, --username=NAME      one of admin_users or stats_users\n"
	"  -d, --dbname=CONNINFO    the console's name (default: pgbouncer), a connection\n"
	"                           string or a URI\n"
	"  -w, --no-password        never ask for a password\n"
	"  -W, --password           ask for a password first\n"
	"  -n, --interval=SECONDS   time between two looks, 0.1 to 3600 (default: 2)\n"
	"  -s, --sort=COLUMN        column to sort by\n"
	"      --view=VIEW          pools, clients, servers, hosts, latency or pool_stats\n"
	"  -b, --batch              plain text to standard output; times in milliseconds\n"
	"  -c, --count=N            end after N pictures (with --batch)\n"
	"  -V, --version            show the version\n"
	"      --help               show this help\n"
	"\n"
	"PGHOST, PGPORT, PGUSER, PGPASSWORD and the password file hold as for psql.\n"
	"A configuration file that is called \"top\" is \"./top\".\n";

static const struct option long_options[] = {
	{"host", required_argument, NULL, 'h'},     {"port", required_argument, NULL, 'p'},
	{"username", required_argument, NULL, 'U'}, {"dbname", required_argument, NULL, 'd'},
	{"no-password", no_argument, NULL, 'w'},    {"password", no_argument, NULL, 'W'},
	{"interval", required_argument, NULL, 'n'}, {"sort", required_argument, NULL, 's'},
	{"view", required_argument, NULL, 'v'},     {"batch", no_argument, NULL, 'b'},
	{"count", required_argument, NULL, 'c'},    {"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'H'},           {NULL, 0, NULL, 0},
};

static enum top_way take_interval(struct top_args *args, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= TOP_INTERVAL_MIN && seconds <= TOP_INTERVAL_MAX)) {
		fprintf(stderr, "pgsluice top: --interval %s: expected %g to %g seconds\n", text, TOP_INTERVAL_MIN,
			TOP_INTERVAL_MAX);
		return TOP_WRONG;
	}
	args->interval = seconds;
	return TOP_RUN;
}

static enum top_way take_count(struct top_args *args, const char *text)
{
	char *end;
	long count = strtol(text, &end, 10);

	if (end == text || *end != '\0' || count < 1 || count > 1000000000) {
		fprintf(stderr, "pgsluice top: --count %s: expected a number from 1\n", text);
		return TOP_WRONG;
	}
	args->count = (unsigned)count;
	return TOP_RUN;
}

/* Those that only note a text or a wish. */
static bool note_option(struct top_args *args, int option)
{
	switch (option) {
	case 'h':
		args->target.host = optarg;
		return true;
	case 'p':
		args->target.port = optarg;
		return true;
	case 'U':
		args->target.user = optarg;
		return true;
	case 'd':
		args->target.database = optarg;
		return true;
	case 's':
		args->sort = optarg;
		return true;
	case 'v':
		args->view = optarg;
		return true;
	case 'w':
		args->never_asks = true;
		return true;
	case 'W':
		args->asks_first = true;
		return true;
	case 'b':
		args->batch = true;
		return true;
	default:
		return false;
	}
}

static enum top_way take_option(struct top_args *args, int option, const char *version)
{
	if (note_option(args, option))
		return TOP_RUN;
	switch (option) {
	case 'n':
		return take_interval(args, optarg);
	case 'c':
		return take_count(args, optarg);
	case 'V':
		printf("%s\n", version);
		return TOP_DONE;
	case 'H':
		fputs(top_usage_text, stdout);
		return TOP_DONE;
	default:
		fputs("Try \"pgsluice top --help\" for more information.\n", stderr);
		return TOP_WRONG;
	}
}

static enum top_way take_rest(struct top_args *args, int argc, char **argv)
{
	if (optind < argc && args->target.database == NULL)
		args->target.database = argv[optind++];
	if (optind < argc) {
		fprintf(stderr, "pgsluice top: what is \"%s\" for? Try \"pgsluice top --help\".\n", argv[optind]);
		return TOP_WRONG;
	}
	if (args->count != 0 && !args->batch) {
		fputs("pgsluice top: --count goes with --batch\n", stderr);
		return TOP_WRONG;
	}
	return TOP_RUN;
}

enum top_way top_args_take(struct top_args *args, int argc, char **argv, const char *version)
{
	enum top_way way = TOP_RUN;
	int option;

	*args = (struct top_args){.interval = 2};
	optind = 0;
	while (way == TOP_RUN && (option = getopt_long(argc, argv, "h:p:U:d:wWn:s:bc:V", long_options, NULL)) != -1)
		way = take_option(args, option, version);
	return way == TOP_RUN ? take_rest(args, argc, argv) : way;
}
