/*
 * The options of the command line, each once: what getopt_long() takes, --help
 * and the manual are made from this table.
 */
#pragma once
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>

/* What getopt_long() returns for the options without a letter. */
enum { OPTION_CAPACITY = 256, OPTION_CHECK, OPTION_SETTINGS };

struct program_option {
	int letter;                      /* or one of the above */
	const char *name, *other_name;   /* the long ones; NULL: none */
	const char *argument;            /* what it takes, in a word; NULL: nothing */
	const char *help;                /* a line of --help */
	const char *doc;                 /* of the manual */
};

enum { OPTION_COUNT = 11 };
extern const struct program_option program_options[OPTION_COUNT];

/* The table in the two forms that getopt_long() wants. */
struct options_getopt {
	char letters[2 * OPTION_COUNT + 1];
	struct option names[2 * OPTION_COUNT + 1];
};
void options_for_getopt(struct options_getopt *forms);

/* --help, in a screen of 24 lines of 80 columns. */
void options_print_usage(const char *program, FILE *out);
