/*
 * What is said on the console: the grammar of PgBouncer's, and SET for the
 * entries of databases and users.
 *
 *   word [word] [;]        set word {= | to} value [;]
 *   set {database | user} word word {= | to} value [;]
 *
 * A word is letters, digits and _ . - $, or any text in double quotes; a value
 * may also stand in single quotes, and bare may hold anything but blanks,
 * quotes and semicolons. A quote inside quotes is doubled.
 */
#pragma once
#include "base/str.h"

enum statement_kind {
	STATEMENT_EMPTY,         /* blanks and semicolons */
	STATEMENT_COMMAND,       /* word [word] */
	STATEMENT_SET,           /* argument = value; the command is the word SET as it was written */
	STATEMENT_SET_DATABASE,  /* the same for one entry */
	STATEMENT_SET_USER,
	STATEMENT_BAD,           /* anything else */
};

/* The longest of each, without the NUL. */
enum { STATEMENT_COMMAND_MAX = 15, STATEMENT_ARGUMENT_MAX = 63, STATEMENT_ENTRY_MAX = 127, STATEMENT_VALUE_MAX = 255 };

struct statement {
	enum statement_kind kind;
	char command[STATEMENT_COMMAND_MAX + 1];
	char argument[STATEMENT_ARGUMENT_MAX + 1]; /* "" when there is none, and only then */
	char entry[STATEMENT_ENTRY_MAX + 1];       /* the database or user of which something is set */
	char value[STATEMENT_VALUE_MAX + 1];
};

void statement_parse(struct slice sql, struct statement *s);
