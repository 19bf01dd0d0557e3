/*
 * The command line and the console.
 */
#include "parts.h"
#include "roff.h"

#include "admin/commands.h"
#include "options.h"
#include "report/tables.h"
#include "top/top_args.h"

/* --- options --- */

static void put_option_name(const char *dashes, const char *name, const char **between, FILE *out)
{
	fprintf(out, "%s\\fB", *between);
	roff_word(dashes, out);
	roff_word(name, out);
	fputs("\\fR", out);
	*between = ", ";
}

static void put_option(const struct program_option *o, FILE *out)
{
	const char letter[] = {(char)o->letter, '\0'};
	const char *between = "";

	fputs(".TP\n", out);
	if (o->letter < OPTION_CAPACITY)
		put_option_name("-", letter, &between, out);
	if (o->name != NULL)
		put_option_name("--", o->name, &between, out);
	if (o->other_name != NULL)
		put_option_name("--", o->other_name, &between, out);
	if (o->argument != NULL)
		fprintf(out, "%s\\fI%s\\fR", o->name != NULL ? "=" : " ", o->argument);
	fputc('\n', out);
	roff_prose(o->doc, out);
}

void part_options(FILE *out)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		put_option(&program_options[i], out);
}

/* Its help as it stands: no line of it begins with what roff would take for a request. */
void part_top(FILE *out)
{
	fputs(".nf\n.in 2n\n", out);
	roff_word(top_usage_text, out);
	fputs(".in\n.fi\n", out);
}

/* --- commands: the rows of SHOW COMMANDS that are no SHOW --- */

struct command_sink {
	struct row_sink sink;
	FILE *out;
};

static const char *text_of(const struct cell *cells, const char *column, char room[512])
{
	size_t i = 0;

	while (strcmp(table_commands.columns[i].name, column) != 0)
		i++;
	snprintf(room, 512, "%.*s", (int)cells[i].text.n, cells[i].text.p);
	return room;
}

static void on_command(struct row_sink *sink, const struct cell *cells)
{
	struct command_sink *s = (struct command_sink *)sink;
	char name[512], argument[512], help[512];

	if (strcmp(text_of(cells, "name", name), "SHOW") != 0)
		roff_item(name, text_of(cells, "argument", argument), text_of(cells, "help", help), s->out);
}

void part_commands(FILE *out)
{
	struct command_sink s = {.sink.on_row = on_command, .out = out};

	table_tell(&table_commands, NULL, &s.sink);
}

/* --- tables --- */

static void put_columns(const struct table *table, FILE *out)
{
	fputs("Columns:", out);
	for (size_t i = 0; i < table->ncolumns; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : "\n", table->columns[i].name);
	fputs(".\n", out);
}

void part_tables(FILE *out)
{
	char name[64];

	for (size_t i = 0; i < TABLE_COUNT; i++) {
		snprintf(name, sizeof(name), "SHOW %s", tables[i]->name);
		roff_item(name, "", table_help[i], out);
		if (tables[i]->is_for_admins)
			fputs("For \\fBadmin_users\\fR only.\n", out);
		put_columns(tables[i], out);
	}
}
