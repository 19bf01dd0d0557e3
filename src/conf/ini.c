/*
 * libinih cuts lines at 200 bytes, ends values at " ;", takes ":" for "=", and
 * an indented line for a continuation. So it never sees the text of an entry:
 * what reads lines here takes keys and values apart and hands libinih a token
 * for each entry, and libinih says which section it belongs to and which lines
 * are comments.
 */
#include "conf/ini.h"

#include <ini.h>
#include <stdio.h>

#include "conf/textfile.h"

#define DEEPEST_INCLUDE 10
#define MOST_INCLUDES 1000    /* files that include each other by twos and threes are soon millions */
#define LONGEST_SECTION 40    /* libinih cuts names at 50 bytes */

/* A file being read; those behind it wait until it is at its end. */
struct source {
	struct slice rest;
	struct conf_place at;
	int depth;
	struct source *includer;
};

struct reader {
	struct arena *arena;
	struct conf_problems *problems;
	struct source *source;
	unsigned nincludes;
	struct slice key, value;             /* of the entry that libinih has just been given the token of */
	struct conf_place at;                /* of the line read last */
	struct ini_entry *first, **end;
};

static void open_source(struct reader *r, const char *file, struct conf_place named_at)
{
	int depth = r->source != NULL ? r->source->depth + 1 : 0;
	struct source *source = arena_alloc(r->arena, sizeof(*source));
	const char *error;

	if (depth > DEEPEST_INCLUDE) {
		conf_error(r->problems, named_at, "%%include %s: files include each other too deeply; accepted: %d levels",
			   file, DEEPEST_INCLUDE);
		return;
	}
	if (!textfile_read(file, r->arena, &source->rest, &error)) {
		if (depth > 0)
			conf_error(r->problems, named_at, "%%include %s: cannot be read: %s", file, error);
		else
			conf_error(r->problems, named_at, "cannot be read: %s", error);
		return;
	}
	if (source->rest.n >= 3 && memcmp(source->rest.p, "\xef\xbb\xbf", 3) == 0) {
		source->rest.p += 3;
		source->rest.n -= 3;
	}
	source->at.file = file;
	source->depth = depth;
	source->includer = r->source;
	r->source = source;
}

static bool next_line(struct reader *r, struct slice *line)
{
	while (r->source != NULL) {
		if (textfile_line(&r->source->rest, line)) {
			r->source->at.line++;
			r->at = r->source->at;
			*line = slice_trim(*line);
			return true;
		}
		r->source = r->source->includer;
	}
	return false;
}

static void add_entry(struct reader *r, const char *section, const char *key, struct slice value)
{
	struct ini_entry *entry = arena_alloc(r->arena, sizeof(*entry));

	entry->at = r->at;
	entry->section = section;
	entry->key = key;
	entry->value = (struct slice){arena_copy(r->arena, value), value.n};
	*r->end = entry;
	r->end = &entry->next;
}

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.*-", c) != NULL);
}

static size_t key_length(struct slice text)
{
	size_t n = 0;

	while (n < text.n && is_key_char(text.p[n]))
		n++;
	return n;
}

static void read_include(struct reader *r, struct slice line)
{
	struct slice word = SLICE_LIT("%include"), name;

	if (line.n <= word.n || !slice_eq((struct slice){line.p, word.n}, word) ||
	    (line.p[word.n] != ' ' && line.p[word.n] != '\t')) {
		conf_error(r->problems, r->at, "%.*s: unknown directive; accepted: %%include FILE", CONF_EXCERPT(line));
		return;
	}
	if (++r->nincludes > MOST_INCLUDES) {
		if (r->nincludes == MOST_INCLUDES + 1)
			conf_error(r->problems, r->at, "more files are included than accepted: %d", MOST_INCLUDES);
		return;
	}
	name = slice_trim((struct slice){line.p + word.n, line.n - word.n});
	open_source(r, arena_copy(r->arena, name), r->at);
}

static bool read_section(struct reader *r, struct slice line, struct slice *name)
{
	*name = (struct slice){line.p + 1, line.n - 1};
	if (line.p[line.n - 1] != ']') {
		conf_error(r->problems, r->at, "%.*s: nothing but the section's ] may end this line", CONF_EXCERPT(line));
		return false;
	}
	name->n--;
	*name = slice_trim(*name);
	if (name->n == 0 || name->n > LONGEST_SECTION || key_length(*name) != name->n) {
		conf_error(r->problems, r->at, "%.*s: no name of a section", CONF_EXCERPT(line));
		return false;
	}
	add_entry(r, arena_copy(r->arena, *name), NULL, (struct slice){"", 0});
	return true;
}

/* Takes a "quoted" key off *line, whose first byte is the quote. */
static bool take_quoted(struct reader *r, struct slice *line, struct slice *key)
{
	char *p = arena_alloc(r->arena, line->n);

	*key = (struct slice){p, 0};
	for (size_t i = 1; i < line->n; i++) {
		if (line->p[i] == '"' && (i + 1 == line->n || line->p[i + 1] != '"')) {
			line->p += i + 1;
			line->n -= i + 1;
			return true;
		}
		if (line->p[i] == '"')
			i++;
		p[key->n++] = line->p[i];
	}
	return false;
}

static void take_plain(struct slice *line, struct slice *key)
{
	*key = (struct slice){line->p, key_length(*line)};
	line->p += key->n;
	line->n -= key->n;
}

/* Errors here do not repeat the line: it may be one of a database, with a password. */
static bool read_entry(struct reader *r, struct slice line)
{
	if (memchr(line.p, '\0', line.n) != NULL) {
		conf_error(r->problems, r->at, "contains a NUL byte");
		return false;
	}
	if (line.p[0] != '"') {
		take_plain(&line, &r->key);
	} else if (!take_quoted(r, &line, &r->key)) {
		conf_error(r->problems, r->at, "a quoted name does not end; accepted: \"name\" = value");
		return false;
	}
	line = slice_trim(line);
	if (line.n == 0 || line.p[0] != '=' || (r->key.n == 0 && r->key.p == line.p)) {
		conf_error(r->problems, r->at, "no entry; accepted: key = value, where a key has letters, digits and _.*- "
			   "or is in double quotes");
		return false;
	}
	r->value = slice_trim((struct slice){line.p + 1, line.n - 1});
	return true;
}

/* What stands for a line towards libinih; empty when there is nothing to tell. */
static void write_token(struct reader *r, struct slice line, char *token, int size)
{
	struct slice section;

	token[0] = '\0';
	if (line.n == 0)
		return;
	if (line.p[0] == ';' || line.p[0] == '#')
		snprintf(token, (size_t)size, "%c\n", line.p[0]);
	else if (line.p[0] == '%')
		read_include(r, line);
	else if (line.p[0] == '[' && read_section(r, line, &section))
		snprintf(token, (size_t)size, "[%.*s]\n", (int)section.n, section.p);
	else if (line.p[0] != '[' && read_entry(r, line))
		snprintf(token, (size_t)size, "entry=\n");
}

/* libinih's fgets(). */
static char *on_read(char *token, int size, void *stream)
{
	struct reader *r = stream;
	struct slice line;

	while (next_line(r, &line)) {
		write_token(r, line, token, size);
		if (token[0] != '\0')
			return token;
	}
	return NULL;
}

static int on_entry(void *user, const char *section, const char *token, const char *value)
{
	struct reader *r = user;
	struct slice name = slice_of(section);

	(void)token;
	(void)value;
	add_entry(r, name.n > 0 ? arena_copy(r->arena, name) : NULL, arena_copy(r->arena, r->key), r->value);
	return 1;
}

struct ini_entry *ini_read(const char *file, struct arena *arena, struct conf_problems *problems)
{
	struct reader r = {.arena = arena, .problems = problems};

	r.end = &r.first;
	file = arena_copy(arena, slice_of(file));
	open_source(&r, file, (struct conf_place){file, 0});
	if (ini_parse_stream(on_read, &r, on_entry, &r) != 0)
		conf_error(problems, (struct conf_place){file, 0}, "out of memory");
	return r.first;
}
