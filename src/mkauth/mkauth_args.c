#include "mkauth/mkauth_args.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage_text[] =
	"Usage: pgsluice-mkauth [OPTION]... [CONNINFO]\n"
	"  or:  pgsluice-mkauth FILE CONNINFO\n"
	"Writes the roles of a PostgreSQL server and their secrets as lines of auth_file.\n"
	"\n"
	"  -o, --output=FILE    replace FILE instead of writing to standard output\n"
	"  -u, --user=NAME      only this role (may be repeated)\n"
	"      --hash=NAME      no roles: hash a password, read from standard input, and\n"
	"                       print NAME's line\n"
	"      --method=METHOD  scram-sha-256 or md5 for --hash (default: as the server\n"
	"                       has it in password_encryption)\n"
	"  -V, --version        show the version\n"
	"  -h, --help           show this help\n"
	"\n"
	"CONNINFO is a database, a connection string or a URI. PGHOST, PGPORT, PGUSER,\n"
	"PGPASSWORD and the password file hold as for psql. To read the roles takes a\n"
	"superuser, or one who may read pg_shadow.\n";

static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'}, {"user", required_argument, NULL, 'u'},
	{"hash", required_argument, NULL, 'H'},   {"method", required_argument, NULL, 'M'},
	{"version", no_argument, NULL, 'V'},      {"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static enum mkauth_way take_option(struct mkauth_args *args, int option, const char *version)
{
	switch (option) {
	case 'o':
		args->output = optarg;
		return MKAUTH_RUN;
	case 'u':
		args->users[args->nusers++] = optarg;
		return MKAUTH_RUN;
	case 'H':
		args->hash = optarg;
		return MKAUTH_RUN;
	case 'M':
		args->method = optarg;
		return MKAUTH_RUN;
	case 'V':
		printf("pgsluice-mkauth %s\n", version);
		return MKAUTH_DONE;
	case 'h':
		fputs(usage_text, stdout);
		return MKAUTH_DONE;
	default:
		fputs("Try \"pgsluice-mkauth --help\" for more information.\n", stderr);
		return MKAUTH_WRONG;
	}
}

/* PgBouncer's mkauth.py has the file first. */
static bool take_rest(struct mkauth_args *args, int n, char **rest)
{
	if (n == 2 && args->output == NULL)
		args->output = *rest++;
	else if (n > 1)
		return false;
	if (n > 0)
		args->conninfo = *rest;
	return true;
}

/* What does not go together, or NULL. */
static const char *contradiction(const struct mkauth_args *args)
{
	if (args->hash == NULL)
		return args->method != NULL ? "--method goes with --hash" : NULL;
	if (args->nusers > 0)
		return "--hash reads no roles: --user does not go with it";
	/* Everybody else would be gone from it. */
	return args->output != NULL ? "--hash makes one line: add it to a file with >>" : NULL;
}

enum mkauth_way mkauth_args_take(struct mkauth_args *args, int argc, char **argv, const char *version)
{
	enum mkauth_way way = MKAUTH_RUN;
	const char *wrong;
	int option;

	*args = (struct mkauth_args){.users = calloc((size_t)argc, sizeof(args->users[0]))};
	if (args->users == NULL)
		return MKAUTH_WRONG;
	while (way == MKAUTH_RUN && (option = getopt_long(argc, argv, "o:u:Vh", long_options, NULL)) != -1)
		way = take_option(args, option, version);
	if (way != MKAUTH_RUN)
		return way;
	wrong = take_rest(args, argc - optind, argv + optind) ? contradiction(args) : "too many arguments";
	if (wrong != NULL)
		fprintf(stderr, "pgsluice-mkauth: %s\n", wrong);
	return wrong == NULL ? MKAUTH_RUN : MKAUTH_WRONG;
}
