#include "proto/sql.h"

#include <stdlib.h>

enum token {
	TOKEN_END,
	TOKEN_BAD,             /* a quote or comment without an end, or one whose end is uncertain */
	TOKEN_WORD,            /* a keyword, or a name that is not quoted */
	TOKEN_QUOTED,          /* "..." */
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_SEMICOLON,
	TOKEN_OTHER,           /* a literal, or one character of something else */
};

struct lexer {
	const char *text, *end;
	const char *last;      /* where the token before the current one ends */
	const char *start, *p; /* the current token; p: what has been read */
	enum token token;
};

static struct lexer lexer_of(const char *p, size_t n)
{
	return (struct lexer){p, p + n, p, p, p, TOKEN_END};
}

static size_t left(const struct lexer *l)
{
	return (size_t)(l->end - l->p);
}

static bool is_next(const struct lexer *l, char c)
{
	return l->p < l->end && *l->p == c;
}

static bool is_pair_next(const struct lexer *l, const char pair[3])
{
	return left(l) >= 2 && l->p[0] == pair[0] && l->p[1] == pair[1];
}

static bool accept_char(struct lexer *l, char c)
{
	if (!is_next(l, c))
		return false;
	l->p++;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word_start(char c)
{
	return (fold(c) >= 'a' && fold(c) <= 'z') || c == '_' || (unsigned char)c >= 0x80;
}

/* Blanks and comments up to the end of a line. */
static void skip_line_blanks(struct lexer *l)
{
	while (l->p < l->end) {
		if (is_pair_next(l, "--")) {
			while (l->p < l->end && *l->p != '\n' && *l->p != '\r')
				l->p++;
		} else if (is_blank(*l->p)) {
			l->p++;
		} else {
			break;
		}
	}
}

/* From its first characters on; comments in comments count. False: it has no end. */
static bool skip_comment(struct lexer *l)
{
	size_t depth = 0;

	while (left(l) >= 2) {
		if (is_pair_next(l, "/*")) {
			depth++;
			l->p += 2;
		} else if (is_pair_next(l, "*/")) {
			depth--;
			l->p += 2;
		} else {
			l->p++;
		}
		if (depth == 0)
			return true;
	}
	return false;
}

static bool skip_blanks(struct lexer *l)
{
	skip_line_blanks(l);
	while (is_pair_next(l, "/*")) {
		if (!skip_comment(l))
			return false;
		skip_line_blanks(l);
	}
	return true;
}

/* From behind the opening quote, which stands for itself when it is doubled. */
static bool skip_quoted(struct lexer *l)
{
	while (l->p < l->end) {
		if (*l->p++ == '"' && !accept_char(l, '"'))
			return true;
	}
	return false;
}

/*
 * From behind the opening quote. Where it is the server's setting that decides
 * whether a backslash escapes, one before a quote makes the end uncertain.
 */
static bool skip_literal(struct lexer *l, bool escapes)
{
	while (l->p < l->end) {
		char c = *l->p++;

		if (c == '\'' && !accept_char(l, '\''))
			return true;
		if (c != '\\')
			continue;
		if (!escapes && is_next(l, '\''))
			return false;
		if (l->p < l->end)
			l->p++;
	}
	return false;
}

/* A literal goes on, by the same rules, at a quote on one of the next lines. */
static bool accept_continuation(struct lexer *l)
{
	struct lexer ahead = *l;
	bool has_newline = false;

	skip_line_blanks(&ahead);
	for (const char *p = l->p; p < ahead.p; p++)
		has_newline |= *p == '\n' || *p == '\r';
	if (!has_newline || !accept_char(&ahead, '\''))
		return false;
	*l = ahead;
	return true;
}

/* From behind E and the opening quote. */
static bool skip_escape_literal(struct lexer *l)
{
	do {
		if (!skip_literal(l, true))
			return false;
	} while (accept_continuation(l));
	return true;
}

/* From behind the first dollar. One that opens no $tag$ is a character like others. */
static bool skip_dollar_literal(struct lexer *l)
{
	const char *tag_end = l->p, *closing;
	size_t size;

	while (tag_end < l->end && (is_word_start(*tag_end) || (is_digit(*tag_end) && tag_end > l->p)))
		tag_end++;
	if (tag_end == l->end || *tag_end != '$')
		return true;
	size = (size_t)(tag_end + 1 - l->start);
	closing = memmem(tag_end + 1, (size_t)(l->end - tag_end - 1), l->start, size);
	if (closing == NULL)
		return false;
	l->p = closing + size;
	return true;
}

/*
 * From behind the first character. No other prefix of quotes than E matters:
 * what follows B, X, N and U& ends where it would without. And as a name,
 * U&"..." is a word that & follows, which goes nowhere.
 */
static enum token read_word(struct lexer *l)
{
	while (l->p < l->end && (is_word_start(*l->p) || is_digit(*l->p) || *l->p == '$'))
		l->p++;
	if (l->p - l->start == 1 && fold(*l->start) == 'e' && accept_char(l, '\''))
		return skip_escape_literal(l) ? TOKEN_OTHER : TOKEN_BAD;
	return TOKEN_WORD;
}

static enum token read_token(struct lexer *l)
{
	char c;

	if (!skip_blanks(l))
		return TOKEN_BAD;
	l->start = l->p;
	if (l->p == l->end)
		return TOKEN_END;
	c = *l->p++;
	if (is_word_start(c))
		return read_word(l);
	switch (c) {
	case '"':
		return skip_quoted(l) ? TOKEN_QUOTED : TOKEN_BAD;
	case '\'':
		return skip_literal(l, false) ? TOKEN_OTHER : TOKEN_BAD;
	case '$':
		return skip_dollar_literal(l) ? TOKEN_OTHER : TOKEN_BAD;
	case '(':
		return TOKEN_OPEN;
	case ')':
		return TOKEN_CLOSE;
	case ';':
		return TOKEN_SEMICOLON;
	default:
		return TOKEN_OTHER;
	}
}

static void next(struct lexer *l)
{
	l->last = l->p;
	l->token = read_token(l);
}

static bool is_at_end(const struct lexer *l)
{
	return l->token == TOKEN_END || l->token == TOKEN_SEMICOLON;
}

static bool is_over(const struct lexer *l)
{
	return is_at_end(l) || l->token == TOKEN_BAD;
}

static struct slice token_text(const struct lexer *l)
{
	return (struct slice){l->start, (size_t)(l->p - l->start)};
}

static bool is_word(const struct lexer *l, const char *word)
{
	return l->token == TOKEN_WORD && slice_is_nocase(token_text(l), word);
}

static bool accept_word(struct lexer *l, const char *word)
{
	if (!is_word(l, word))
		return false;
	next(l);
	return true;
}

/* At the opening one, to behind the one that closes it. */
static bool skip_parentheses(struct lexer *l)
{
	size_t depth = 0;

	do {
		if (l->token == TOKEN_OPEN)
			depth++;
		else if (l->token == TOKEN_CLOSE)
			depth--;
		next(l);
	} while (depth > 0 && !is_over(l));
	return depth == 0;
}

/* What must be in quotes to be a name (PostgreSQL manual, appendix C), up to PostgreSQL 18. */
static const char *const RESERVED[] = {
	"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "binary",
	"both", "case", "cast", "check", "collate", "collation", "column", "concurrently", "constraint", "create",
	"cross", "current_catalog", "current_date", "current_role", "current_schema", "current_time",
	"current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end",
	"except", "false", "fetch", "for", "foreign", "freeze", "from", "full", "grant", "group", "having", "ilike",
	"in", "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral", "leading", "left", "like",
	"limit", "localtime", "localtimestamp", "natural", "not", "notnull", "null", "offset", "on", "only", "or",
	"order", "outer", "overlaps", "placing", "primary", "references", "returning", "right", "select",
	"session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample", "then", "to",
	"trailing", "true", "union", "unique", "user", "using", "variadic", "verbose", "when", "where", "window",
	"with",
};

static int compare_words(const void *a, const void *b)
{
	return strcmp(a, *(const char *const *)b);
}

static bool is_reserved(const char *word)
{
	size_t n = sizeof(RESERVED) / sizeof(RESERVED[0]);

	return bsearch(word, RESERVED, n, sizeof(RESERVED[0]), compare_words) != NULL;
}

static bool continues_character(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Where a longer name is cut. What has more than three such bytes in a row is no UTF-8, and is cut anywhere. */
static size_t cut_length(const char name[SQL_NAME_MAX + 1])
{
	size_t n = SQL_NAME_MAX;

	while (n > SQL_NAME_MAX - 3 && continues_character(name[n]))
		n--;
	return continues_character(name[n]) ? SQL_NAME_MAX : n;
}

/* The name inside a token, without its quotes. */
static void set_name(struct sql *sql, struct slice raw, bool is_quoted)
{
	char room[SQL_NAME_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < raw.n && n < sizeof(room); i++) {
		if (is_quoted)
			room[n++] = raw.p[i];
		else
			room[n++] = fold(raw.p[i]);
		if (is_quoted && raw.p[i] == '"')
			i++;
	}
	if (n == sizeof(room))
		n = cut_length(room);
	/* cppcheck-suppress uninitvar */
	memcpy(sql->name, room, n);
	sql->name[n] = '\0';
	sql->name_len = (uint8_t)n;
}

static bool read_name(struct lexer *l, struct sql *sql)
{
	struct slice raw = token_text(l);
	bool is_quoted = l->token == TOKEN_QUOTED;

	if (!is_quoted && l->token != TOKEN_WORD)
		return false;
	set_name(sql, is_quoted ? (struct slice){raw.p + 1, raw.n - 2} : raw, is_quoted);
	sql->name_at = (size_t)(l->start - l->text);
	sql->name_end = (size_t)(l->p - l->text);
	next(l);
	return sql->name_len > 0 && (is_quoted || !is_reserved(sql->name));
}

/* Of PREPARE TRANSACTION 'name', TRANSACTION reads as a name, but neither ( nor AS follows it. */
static bool read_prepare(struct lexer *l, struct sql *sql)
{
	if (!read_name(l, sql))
		return false;
	if (l->token == TOKEN_OPEN && !skip_parentheses(l))
		return false;
	if (!accept_word(l, "as") || is_at_end(l))
		return false;
	while (!is_over(l))
		next(l);
	return true;
}

static bool read_execute(struct lexer *l, struct sql *sql)
{
	return read_name(l, sql) && (l->token != TOKEN_OPEN || skip_parentheses(l));
}

/* PREPARE, too, may be a name: DEALLOCATE PREPARE, and nothing behind it. */
static bool read_deallocate(struct lexer *l, struct sql *sql)
{
	struct lexer ahead = *l;

	if (accept_word(&ahead, "prepare") && !is_at_end(&ahead))
		*l = ahead;
	if (!accept_word(l, "all"))
		return read_name(l, sql);
	sql->verb = SQL_DEALLOCATE_ALL;
	return true;
}

static bool read_discard(struct lexer *l, struct sql *sql)
{
	(void)sql;
	return accept_word(l, "all");
}

static const struct command {
	const char *word;
	enum sql_verb verb;
	bool (*read)(struct lexer *l, struct sql *sql); /* from behind the word up to the statement's end */
} COMMANDS[] = {
	{"prepare", SQL_PREPARE, read_prepare},
	{"execute", SQL_EXECUTE, read_execute},
	{"deallocate", SQL_DEALLOCATE, read_deallocate},
	{"discard", SQL_DISCARD_ALL, read_discard},
};

#define NCOMMANDS (sizeof(COMMANDS) / sizeof(COMMANDS[0]))

/* Whether as much as is here of the word fits. */
static bool may_begin(const struct lexer *l, const char *word)
{
	for (const char *p = l->p; p < l->end && *word != '\0'; p++, word++) {
		if (fold(*p) != *word)
			return false;
	}
	return true;
}

bool sql_may_begin_so(const char *p, size_t n)
{
	struct lexer l = lexer_of(p, n);

	if (!skip_blanks(&l))
		return true;
	/* What may become a comment. */
	if (left(&l) == 1 && (*l.p == '-' || *l.p == '/'))
		return true;
	for (size_t i = 0; i < NCOMMANDS; i++) {
		if (may_begin(&l, COMMANDS[i].word))
			return true;
	}
	return false;
}

/* Only semicolons may follow the statement. */
static bool read_end(struct lexer *l, struct sql *sql)
{
	if (!is_at_end(l))
		return false;
	sql->end = (size_t)(l->last - l->text);
	while (l->token == TOKEN_SEMICOLON)
		next(l);
	return l->token == TOKEN_END;
}

static bool read_command(struct lexer *l, struct sql *sql)
{
	for (size_t i = 0; i < NCOMMANDS; i++) {
		if (accept_word(l, COMMANDS[i].word)) {
			sql->verb = COMMANDS[i].verb;
			return COMMANDS[i].read(l, sql) && read_end(l, sql);
		}
	}
	return false;
}

void sql_read(struct slice text, struct sql *sql)
{
	struct lexer l = lexer_of(text.p, text.n);

	*sql = (struct sql){.verb = SQL_OTHER};
	next(&l);
	if (!read_command(&l, sql) || memchr(text.p, '\0', text.n) != NULL)
		*sql = (struct sql){.verb = SQL_OTHER};
}
