#include "roff.h"

#include <string.h>

static void put(char c, FILE *out)
{
	if (c == '\\')
		fputs("\\e", out);
	else
		fputc(c, out);
}

/* At the beginning of a line these two begin a request. */
static void begin_line(const char *text, FILE *out)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
}

void roff_prose(const char *text, FILE *out)
{
	begin_line(text, out);
	for (; *text != '\0'; text++) {
		put(*text, out);
		if (strchr(".?!", *text) == NULL || text[1] != ' ')
			continue;
		text++;
		fputc('\n', out);
		begin_line(text + 1, out);
	}
	fputc('\n', out);
}

void roff_word(const char *text, FILE *out)
{
	for (; *text != '\0'; text++) {
		if (*text == '-')
			fputs("\\-", out);
		else
			put(*text, out);
	}
}

void roff_item(const char *word, const char *argument, const char *prose, FILE *out)
{
	fputs(".TP\n\\fB", out);
	roff_word(word, out);
	fputs("\\fR", out);
	if (argument[0] != '\0') {
		fputs(" \\fI", out);
		roff_word(argument, out);
		fputs("\\fR", out);
	}
	fputc('\n', out);
	roff_prose(prose, out);
}
