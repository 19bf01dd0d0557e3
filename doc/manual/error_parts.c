/*
 * Each error that the pooler sends, with what errors.def says of it. Text,
 * SQLSTATE and hint are those of the table that the pooler itself uses.
 */
#include "parts.h"

#include <string.h>

#include "session/close_reasons.h"
#include "session/server_ends.h"

/* A row of a table of which the file says nothing, or the other way round, ends the compilation here. */
enum explained {
#define SECTION(...)
#define REASON(symbol, ...) EXPLAINED_##symbol,
#define WORDED(symbol) EXPLAINED_##symbol,
#define SERVER_END(...)
#define VARIANT(...)
#define MESSAGE(...)
#include "errors.def"
#undef REASON
#undef WORDED
#undef SERVER_END
	EXPLAINED_COUNT
};
#define X(symbol, ...) _Static_assert(EXPLAINED_##symbol < EXPLAINED_COUNT, "in both");
CLOSE_REASONS(X)
#undef X
_Static_assert((int)EXPLAINED_COUNT == (int)CLOSE_REASON_COUNT, "each symbol once");

enum explained_server_end {
#define REASON(...)
#define WORDED(...)
#define SERVER_END(symbol, ...) EXPLAINED_SERVER_##symbol,
#include "errors.def"
#undef REASON
#undef WORDED
#undef SERVER_END
	EXPLAINED_SERVER_COUNT
};
#define X(symbol, ...) _Static_assert(EXPLAINED_SERVER_##symbol < EXPLAINED_SERVER_COUNT, "in both");
SERVER_ENDS(X)
#undef X

/* Formats are shown as what they stand for. */
static void print_text(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (text[0] != '%')
			putc(*text, out);
		else
			fputs("...", out);
		if (text[0] == '%' && text[1] != '\0')
			text++;
	}
}

static void print_heading(FILE *out, const char *pattern, const char *words)
{
	const char *hole = words == NULL ? NULL : strstr(pattern, "%s");

	fputs("### ", out);
	if (hole == NULL) {
		print_text(out, pattern);
	} else {
		fprintf(out, "%.*s", (int)(hole - pattern), pattern);
		print_text(out, words);
		fputs(hole + 2, out);
	}
	fputs("\n\n", out);
}

static void print_explanation(FILE *out, const char *cause, const char *remedy)
{
	fprintf(out, "**Cause:** %s\n\n**Remedy:** %s\n\n", cause, remedy);
}

/* words: what stands in the place of the row's %s; NULL: nothing does. */
static void print_reason(FILE *out, enum close_reason why, const char *words, const char *cause, const char *remedy)
{
	const struct close_reason_info *info = &close_reasons[why];

	print_heading(out, info->text, words);
	if (!info->is_told)
		fprintf(out, "In the log only; `%s` in `SHOW CLOSE_REASONS`.", info->symbol);
	else if (info->sqlstate[0] == '\0')
		fprintf(out, "FATAL; `%s` in `SHOW CLOSE_REASONS`.", info->symbol);
	else
		fprintf(out, "FATAL, SQLSTATE %s; `%s` in `SHOW CLOSE_REASONS`.", info->sqlstate, info->symbol);
	if (info->hint != NULL)
		fprintf(out, " HINT: %s", info->hint);
	fputs("\n\n", out);
	print_explanation(out, cause, remedy);
}

static void print_message(FILE *out, const char *sqlstate, const char *text, const char *cause, const char *remedy)
{
	print_heading(out, text, NULL);
	fprintf(out, "ERROR, SQLSTATE %s.\n\n", sqlstate);
	print_explanation(out, cause, remedy);
}

static void print_server_end(FILE *out, enum server_end why, const char *what)
{
	fprintf(out, "| %s | `%s` | %s |\n", server_end_text(why), server_end_symbol(why), what);
}

static void print_section(FILE *out, const char *title, const char *about)
{
	fprintf(out, "## %s\n\n", title);
	if (about[0] != '\0')
		fprintf(out, "%s\n", about);
	/* A table's head is what comes before its rows. */
	if (about[0] != '\0' && about[strlen(about) - 1] != '|')
		fputc('\n', out);
}

void part_errors(FILE *out)
{
#undef SECTION
#undef VARIANT
#undef MESSAGE
#define SECTION(title, about) print_section(out, title, about);
#define REASON(symbol, cause, remedy) print_reason(out, CLOSE_##symbol, NULL, cause, remedy);
#define WORDED(symbol)
#define VARIANT(symbol, words, cause, remedy) print_reason(out, CLOSE_##symbol, words, cause, remedy);
#define SERVER_END(symbol, what) print_server_end(out, SERVER_END_##symbol, what);
#define MESSAGE(sqlstate, text, cause, remedy) print_message(out, sqlstate, text, cause, remedy);
#include "errors.def"
}
