/*
 * Makes a page of the manual from its template: generate TEMPLATE >PAGE
 *
 * Lines "@name" become what the program's tables have under that name; all
 * others stay.
 */
#include "parts.h"
#include "themes.h"

#include <stdlib.h>
#include <string.h>

struct part {
	const char *name;
	void (*write)(FILE *out);
};

static const struct part parts[] = {
	{"options", part_options},
	{"top", part_top},
	{"commands", part_commands},
	{"tables", part_tables},
	{"settings", part_settings},
	{"database-keys", part_database_keys},
	{"user-keys", part_user_keys},
	{"peer-keys", part_peer_keys},
	{"ini-settings", part_ini_settings},
	{"settings-tables", part_settings_tables},
	{"differences-where-set", part_differences_where_set},
	{"differences-where-not-set", part_differences_where_not_set},
	{"without-effect", part_without_effect},
	{"errors", part_errors},
};

static const struct part *find_part(const char *name)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(parts[i].name, name) == 0)
			return &parts[i];
	return NULL;
}

/* False: no such part. */
static bool put_line(char *line, FILE *out)
{
	const struct part *part;

	if (line[0] != '@') {
		fputs(line, out);
		return true;
	}
	line[strcspn(line, "\n")] = '\0';
	part = find_part(line + 1);
	if (part == NULL) {
		fprintf(stderr, "%s: unknown part\n", line);
		return false;
	}
	part->write(out);
	return true;
}

static bool generate(FILE *template, FILE *out)
{
	char *line = NULL;
	size_t size = 0;
	bool ok = true;

	while (ok && getline(&line, &size, template) >= 0)
		ok = put_line(line, out);
	free(line);
	return ok && !ferror(template) && fflush(out) == 0;
}

int main(int argc, char **argv)
{
	FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;
	bool ok;

	if (template == NULL) {
		fprintf(stderr, "usage: %s TEMPLATE\n", argv[0]);
		return 2;
	}
	ok = themes_are_complete() && generate(template, stdout);
	fclose(template);
	return ok ? 0 : 1;
}
