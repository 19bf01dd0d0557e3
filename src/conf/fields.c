#include "conf/fields.h"

#include "base/attempt.h"
#include "base/siphash.h"
#include "conf/textfile.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void advance(struct slice *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

/* Up to the next token or comment; stray commas mean nothing, as in PostgreSQL. */
static void skip_blanks(struct slice *line)
{
	while (line->n > 0 && (is_blank(line->p[0]) || line->p[0] == ','))
		advance(line, 1);
}

static bool is_at_end(struct slice line)
{
	return line.n == 0 || line.p[0] == '#';
}

bool fields_open(struct fields *f, const char *file, struct arena *arena, struct conf_problems *problems,
		 const char **error)
{
	*f = (struct fields){.at = {file, 0}, .arena = arena, .problems = problems};
	return textfile_read(file, arena, &f->text, error);
}

uint64_t fields_digest(const struct fields *f, uint64_t before)
{
	uint8_t key[SIPHASH_KEY_SIZE] = {0};

	memcpy(key, &before, sizeof(before));
	return siphash(key, f->text.p, f->text.n);
}

static bool ends_in_backslash(struct slice line)
{
	return line.n > 0 && line.p[line.n - 1] == '\\';
}

/* A line with those that its backslashes join to it; comments are joined too. */
static bool join_lines(struct fields *f, struct slice *line)
{
	struct strbuf joined;
	struct guard guard;
	struct slice next;

	if (!textfile_line(&f->text, line))
		return false;
	f->at.line = ++f->nlines;
	if (!ends_in_backslash(*line))
		return true;
	strbuf_init(&joined);
	strbuf_add(&joined, line->p, line->n - 1);
	while (textfile_line(&f->text, &next)) {
		f->nlines++;
		strbuf_add(&joined, next.p, next.n - ends_in_backslash(next));
		if (!ends_in_backslash(next))
			break;
	}
	if (joined.failed)
		conf_error(f->problems, f->at, "out of memory");
	guard_strbuf(&guard, &joined);
	*line = (struct slice){arena_copy(f->arena, strbuf_slice(&joined)), joined.n};
	guard_lift(&guard);
	strbuf_fini(&joined);
	return true;
}

bool fields_next_line(struct fields *f)
{
	while (join_lines(f, &f->line)) {
		skip_blanks(&f->line);
		if (!is_at_end(f->line))
			return true;
	}
	return false;
}

/* How far the token at the beginning of a line reaches; false when its quote does not end. */
static bool measure(struct slice line, size_t *n)
{
	bool in_quotes = false;
	size_t i;

	for (i = 0; i < line.n; i++) {
		char c = line.p[i];

		if (c == '"')
			in_quotes = !in_quotes;
		else if (!in_quotes && (is_blank(c) || c == ',' || c == '#'))
			break;
	}
	*n = i;
	return !in_quotes;
}

/* A quote that opens right where one closed is a quote inside. */
static struct slice unquote(struct slice raw, struct arena *arena)
{
	bool in_quotes = false, has_closed = false;
	char *p = arena_alloc(arena, raw.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] != '"' || has_closed)
			p[n++] = raw.p[i];
		has_closed = raw.p[i] == '"' && in_quotes;
		if (raw.p[i] == '"')
			in_quotes = !in_quotes;
	}
	return (struct slice){p, n};
}

static enum fields_step refuse(struct fields *f, const char *what)
{
	conf_error(f->problems, f->at, "%s", what);
	return FIELDS_BAD;
}

enum fields_step fields_take(struct fields *f, struct fields_token *token)
{
	size_t n;

	skip_blanks(&f->line);
	if (is_at_end(f->line))
		return FIELDS_END;
	if (!measure(f->line, &n))
		return refuse(f, "a quote does not end; accepted: \"...\" with \"\" for a quote inside");
	if (memchr(f->line.p, '\0', n) != NULL)
		return refuse(f, "contains a NUL byte");
	token->is_quoted = f->line.p[0] == '"';
	token->text = unquote((struct slice){f->line.p, n}, f->arena);
	advance(&f->line, n);
	token->has_more = f->line.n > 0 && f->line.p[0] == ',';
	return FIELDS_TOKEN;
}

bool fields_take_one(struct fields *f, const char *field, struct fields_token *token)
{
	enum fields_step step = fields_take(f, token);

	if (step == FIELDS_END)
		conf_error(f->problems, f->at, "the %s is missing", field);
	else if (step == FIELDS_TOKEN && token->has_more)
		conf_error(f->problems, f->at, "the %s is a list; accepted: one value", field);
	return step == FIELDS_TOKEN && !token->has_more;
}

struct slice fields_excerpt(struct slice token)
{
	const char *equals = memchr(token.p, '=', token.n);

	return equals != NULL ? (struct slice){token.p, (size_t)(equals - token.p)} : token;
}
