/*
 * Prints doc/troubleshooting.md: each error that the pooler sends, with what doc/troubleshooting.def says of it. Text,
 * SQLSTATE and hint are those of the table that the pooler itself uses.
 */
#include <stdio.h>
#include <string.h>

#include "session/close_reasons.h"

/* A row of the table of which the file says nothing, or the other way round, ends the compilation here. */
enum explained {
#define SECTION(...)
#define REASON(symbol, ...) EXPLAINED_##symbol,
#define WORDED(symbol) EXPLAINED_##symbol,
#define VARIANT(...)
#define MESSAGE(...)
#include "troubleshooting.def"
#undef REASON
#undef WORDED
	EXPLAINED_COUNT
};
#define X(symbol, ...) _Static_assert(EXPLAINED_##symbol < EXPLAINED_COUNT, "in both");
CLOSE_REASONS(X)
#undef X
_Static_assert((int)EXPLAINED_COUNT == (int)CLOSE_REASON_COUNT, "each symbol once");

/* Formats are shown as what they stand for. */
static void print_text(const char *text)
{
	for (; *text != '\0'; text++) {
		if (text[0] != '%')
			putchar(*text);
		else
			fputs("...", stdout);
		if (text[0] == '%' && text[1] != '\0')
			text++;
	}
}

static void print_heading(const char *pattern, const char *words)
{
	const char *hole = words == NULL ? NULL : strstr(pattern, "%s");

	fputs("### ", stdout);
	if (hole == NULL) {
		print_text(pattern);
	} else {
		printf("%.*s", (int)(hole - pattern), pattern);
		print_text(words);
		fputs(hole + 2, stdout);
	}
	fputs("\n\n", stdout);
}

static void print_explanation(const char *cause, const char *remedy)
{
	printf("**Cause:** %s\n\n**Remedy:** %s\n\n", cause, remedy);
}

/* words: what stands in the place of the row's %s; NULL: nothing does. */
static void print_reason(enum close_reason why, const char *words, const char *cause, const char *remedy)
{
	const struct close_reason_info *info = &close_reasons[why];

	print_heading(info->text, words);
	if (!info->is_told)
		printf("In the log only; `%s` in `SHOW CLOSE_REASONS`.", info->symbol);
	else if (info->sqlstate[0] == '\0')
		printf("FATAL; `%s` in `SHOW CLOSE_REASONS`.", info->symbol);
	else
		printf("FATAL, SQLSTATE %s; `%s` in `SHOW CLOSE_REASONS`.", info->sqlstate, info->symbol);
	if (info->hint != NULL)
		printf(" HINT: %s", info->hint);
	fputs("\n\n", stdout);
	print_explanation(cause, remedy);
}

static void print_message(const char *sqlstate, const char *text, const char *cause, const char *remedy)
{
	print_heading(text, NULL);
	printf("ERROR, SQLSTATE %s.\n\n", sqlstate);
	print_explanation(cause, remedy);
}

static void print_section(const char *title, const char *about)
{
	printf("## %s\n\n", title);
	if (about[0] != '\0')
		printf("%s\n\n", about);
}

static const char introduction[] =
	"# Troubleshooting by error message\n"
	"\n"
	"Every error that the pooler itself sends, with its cause and what to do about it. Search the page for the words\n"
	"that you see; `...` stands for what differs. All other errors are PostgreSQL's and pass as they are.\n"
	"\n"
	"An error has a DETAIL where a setting or a server is at fault: it names the setting and its value, or the server.\n"
	"psql shows it; many drivers have it in the exception. With `sqlstate_compat = pgbouncer` the SQLSTATE is 08P01\n"
	"where PgBouncer has that. The same errors are in the log (`pooler error: ...`, `closing because: ...`), counted in\n"
	"`SHOW CLOSE_REASONS`, and grouped in `SHOW ERRORS` with the database, the user and the time of the last one.\n"
	"\n"
	"This page is printed by the program `doc/troubleshooting` from `session/close_reasons.h` and\n"
	"`doc/troubleshooting.def`: change these.\n"
	"\n";

int main(void)
{
	fputs(introduction, stdout);
#undef SECTION
#undef VARIANT
#undef MESSAGE
#define SECTION(title, about) print_section(title, about);
#define REASON(symbol, cause, remedy) print_reason(CLOSE_##symbol, NULL, cause, remedy);
#define WORDED(symbol)
#define VARIANT(symbol, words, cause, remedy) print_reason(CLOSE_##symbol, words, cause, remedy);
#define MESSAGE(sqlstate, text, cause, remedy) print_message(sqlstate, text, cause, remedy);
#include "troubleshooting.def"
	return 0;
}
