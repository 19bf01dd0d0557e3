#include "admin/statement.h"

/* What is left to be read. */
struct reader {
	const char *p, *end;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.-$", c) != NULL) || (unsigned char)c >= 0x80;
}

static bool is_value_char(char c)
{
	return !is_blank(c) && c != '\0' && c != '\'' && c != '"' && c != ';';
}

static void skip_blanks(struct reader *r)
{
	while (r->p < r->end && is_blank(*r->p))
		r->p++;
}

static bool is_next(const struct reader *r, char c)
{
	return r->p < r->end && *r->p == c;
}

/* From behind the opening quote to behind the closing one. */
static bool read_quoted(struct reader *r, char quote, struct strbuf *out)
{
	while (r->p < r->end) {
		char c = *r->p++;

		if (c == '\0')
			return false;
		if (c == quote) {
			if (!is_next(r, quote))
				return !out->failed;
			r->p++;
		}
		strbuf_add_char(out, c);
	}
	return false;
}

static bool read_bare(struct reader *r, bool (*accepts)(char c), struct strbuf *out)
{
	const char *start = r->p;

	while (r->p < r->end && accepts(*r->p))
		r->p++;
	strbuf_add(out, start, (size_t)(r->p - start));
	return r->p > start && !out->failed;
}

/* False when there is none here, or one that is empty or too long. */
static bool read_word(struct reader *r, char *room, size_t size)
{
	struct strbuf out;

	strbuf_init_fixed(&out, room, size);
	if (!is_next(r, '"'))
		return read_bare(r, is_word_char, &out);
	r->p++;
	return read_quoted(r, '"', &out) && out.n > 0;
}

/* An empty one in quotes is a value too. */
static bool read_value(struct reader *r, char *room, size_t size)
{
	struct strbuf out;
	char quote;

	strbuf_init_fixed(&out, room, size);
	if (!is_next(r, '\'') && !is_next(r, '"'))
		return read_bare(r, is_value_char, &out);
	quote = *r->p++;
	return read_quoted(r, quote, &out);
}

static bool is_at_end(struct reader *r)
{
	skip_blanks(r);
	while (is_next(r, ';')) {
		r->p++;
		skip_blanks(r);
	}
	return r->p == r->end;
}

/* "=", or the word TO with a blank, or a quote, behind it. */
static bool skip_assignment(struct reader *r)
{
	skip_blanks(r);
	if (is_next(r, '=')) {
		r->p++;
	} else {
		if (r->end - r->p < 3 || !slice_is_nocase((struct slice){r->p, 2}, "to") || is_word_char(r->p[2]))
			return false;
		r->p += 2;
	}
	skip_blanks(r);
	return true;
}

/* A word with a blank in front, which is what tells it from the one before. */
static bool read_next_word(struct reader *r, char *room, size_t size)
{
	const char *behind_last = r->p;

	skip_blanks(r);
	return r->p > behind_last && read_word(r, room, size);
}

static bool parse_assignment(struct reader *r, struct statement *s)
{
	return read_word(r, s->argument, sizeof(s->argument)) && skip_assignment(r) &&
	       read_value(r, s->value, sizeof(s->value)) && is_at_end(r);
}

/* In quotes they would be the names of settings. */
static bool parse_section(struct reader *r, struct statement *s)
{
	if (is_next(r, '"') || !read_word(r, s->argument, sizeof(s->argument)))
		return false;
	if (slice_is_nocase(slice_of(s->argument), "database"))
		s->kind = STATEMENT_SET_DATABASE;
	else if (slice_is_nocase(slice_of(s->argument), "user"))
		s->kind = STATEMENT_SET_USER;
	else
		return false;
	return true;
}

static bool parse_set_of_entry(struct reader *r, struct statement *s)
{
	const char *behind_entry;

	if (!parse_section(r, s) || !read_next_word(r, s->entry, sizeof(s->entry)))
		return false;
	behind_entry = r->p;
	skip_blanks(r);
	return r->p > behind_entry && parse_assignment(r, s);
}

/* There is a setting named user: what can be read as an assignment to it is one. */
static bool parse_set(struct reader *r, struct statement *s)
{
	struct reader again;

	skip_blanks(r);
	again = *r;
	s->kind = STATEMENT_SET;
	return parse_assignment(r, s) || parse_set_of_entry(&again, s);
}

static bool parse_argument(struct reader *r, struct statement *s)
{
	struct reader again = *r;

	s->kind = STATEMENT_COMMAND;
	return is_at_end(r) || (read_next_word(&again, s->argument, sizeof(s->argument)) && is_at_end(&again));
}

static bool parse(struct reader *r, struct statement *s)
{
	bool is_quoted;

	if (is_at_end(r)) {
		s->kind = STATEMENT_EMPTY;
		return true;
	}
	is_quoted = is_next(r, '"');
	if (!read_word(r, s->command, sizeof(s->command)))
		return false;
	if (!is_quoted && slice_is_nocase(slice_of(s->command), "set"))
		return parse_set(r, s);
	return parse_argument(r, s);
}

void statement_parse(struct slice sql, struct statement *s)
{
	struct reader r = {sql.p, sql.p + sql.n};

	*s = (struct statement){.kind = STATEMENT_BAD};
	if (!parse(&r, s))
		s->kind = STATEMENT_BAD;
}
