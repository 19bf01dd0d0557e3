#include "options.h"

/* Where the explanations of --help begin. */
#define HELP_COLUMN 23

/* Letters are below the numbers of options without one. */
#define IS_LETTER(o) ((o)->letter < OPTION_CAPACITY)

const struct program_option program_options[OPTION_COUNT] = {
	{'c', NULL, NULL, "NAME=VALUE", "set a parameter, whatever the file says",
	 "Sets a parameter of the main section, whatever the file says, at each reload too. May be repeated."},
	{OPTION_CAPACITY, "capacity", NULL, NULL, "ask the servers whether they have room for all pools",
	 "Asks each server that the file names for its connection slots, prints whether the pools fit, and exits."},
	{OPTION_CHECK, "check", NULL, NULL, "say what is wrong with CONFIG_FILE, start nothing",
	 "Loads the file and all that it names, prints what is wrong, and exits. Of a file whose main section is "
	 "[pgbouncer] it prints too what its settings do otherwise than in PgBouncer."},
	{'d', "daemon", NULL, NULL, "run in the background (needs pidfile)",
	 "Runs in the background. The setting pidfile is needed for it."},
	{'q', "quiet", NULL, NULL, "log nothing to standard error",
	 "Logs nothing to standard error; with --check, prints errors only."},
	{'R', "reboot", "takeover", NULL, "take the place of the running process",
	 "Takes the listening sockets and the pid file of the process that runs with this file, which serves its "
	 "clients to their end and exits. It is asked over its Unix socket; when none is running this one just starts."},
	{OPTION_SETTINGS, "settings", NULL, NULL, "list all parameters with their defaults",
	 "Prints the names and defaults of all parameters, as lines of a configuration file, and exits."},
	{'u', "user", NULL, "USERNAME", "become this user",
	 "Becomes this user, whatever the setting user says. The program does not run as root."},
	{'v', "verbose", NULL, NULL, "log more; twice for most", "Logs more; given twice, most."},
	{'V', "version", NULL, NULL, "show the version", "Prints the versions of the program and its libraries."},
	{'h', "help", NULL, NULL, "show this help", "Prints a short help."},
};

void options_for_getopt(struct options_getopt *forms)
{
	struct option *name = forms->names;
	char *letter = forms->letters;

	*forms = (struct options_getopt){0};
	for (const struct program_option *o = program_options; o < program_options + OPTION_COUNT; o++) {
		int takes = o->argument != NULL ? required_argument : no_argument;

		if (IS_LETTER(o))
			*letter++ = (char)o->letter;
		if (IS_LETTER(o) && takes == required_argument)
			*letter++ = ':';
		if (o->name != NULL)
			*name++ = (struct option){o->name, takes, NULL, o->letter};
		if (o->other_name != NULL)
			*name++ = (struct option){o->other_name, takes, NULL, o->letter};
	}
}

/* The left column; how wide it is. */
static int print_names(const struct program_option *o, FILE *out)
{
	int n = IS_LETTER(o) ? fprintf(out, "  -%c", o->letter) : fprintf(out, "    ");

	if (o->name != NULL)
		n += fprintf(out, "%s --%s", IS_LETTER(o) ? "," : " ", o->name);
	if (o->other_name != NULL)
		n += fprintf(out, ", --%s", o->other_name);
	if (o->argument != NULL)
		n += fprintf(out, "%s%s", o->name != NULL ? "=" : " ", o->argument);
	return n;
}

void options_print_usage(const char *program, FILE *out)
{
	fprintf(out,
		"Usage: %s [OPTION]... CONFIG_FILE\n"
		"  or:  pgsluice top [OPTION]... [CONNINFO]\n"
		"Pools connections to PostgreSQL servers. As top (pgsluice top --help) it shows\n"
		"how those of a pooler do.\n"
		"\n",
		program);
	for (const struct program_option *o = program_options; o < program_options + OPTION_COUNT; o++) {
		int n = print_names(o, out);

		if (n >= HELP_COLUMN - 1) {
			fputc('\n', out);
			n = 0;
		}
		fprintf(out, "%*s%s\n", HELP_COLUMN - n, "", o->help);
	}
	fputs("\nMore: man 1 pgsluice, man 5 pgsluice\n", out);
}
