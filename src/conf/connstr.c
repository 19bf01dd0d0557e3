#include "conf/connstr.h"

static void advance(struct slice *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Up to a blank or the given byte. */
static struct slice take_word(struct slice *rest, char end)
{
	struct slice word = {rest->p, 0};

	while (word.n < rest->n && !is_blank(rest->p[word.n]) && rest->p[word.n] != end)
		word.n++;
	advance(rest, word.n);
	return word;
}

/* Off *rest, which begins with the quote. */
static bool take_quoted(struct slice *rest, struct arena *arena, struct slice *value, const char **error)
{
	char *p = arena_alloc(arena, rest->n + 1);
	size_t n = 0, i;

	for (i = 1; i < rest->n; i++) {
		if (rest->p[i] == '\'' && (i + 1 == rest->n || rest->p[i + 1] != '\''))
			break;
		if (rest->p[i] == '\'')
			i++;
		p[n++] = rest->p[i];
	}
	if (i >= rest->n) {
		*error = "a quoted value does not end; accepted: '...' with '' for a quote inside";
		return false;
	}
	advance(rest, i + 1);
	if (rest->n > 0 && !is_blank(rest->p[0])) {
		*error = "a blank must follow a quoted value";
		return false;
	}
	*value = (struct slice){p, n};
	return true;
}

/*
 * Blanks may stand around "=", which makes `user= password=x` ambiguous: it is
 * refused rather than taken for a user named "password=x".
 */
static bool take_plain(struct slice *rest, bool behind_blank, struct arena *arena, struct slice *value,
		       const char **error)
{
	*value = take_word(rest, '\0');
	if (value->n == 0 || (behind_blank && memchr(value->p, '=', value->n) != NULL)) {
		*error = "has no value; accepted: '' for an empty one, and quotes around one with = or blanks";
		return false;
	}
	value->p = arena_copy(arena, *value);
	return true;
}

enum connstr_step connstr_next(struct slice *rest, struct arena *arena, struct connstr_pair *pair, const char **error)
{
	bool behind_blank, ok;

	*pair = (struct connstr_pair){{"", 0}, {"", 0}};
	*rest = slice_trim(*rest);
	if (rest->n == 0)
		return CONNSTR_END;
	pair->key = take_word(rest, '=');
	*rest = slice_trim(*rest);
	if (rest->n == 0 || rest->p[0] != '=' || pair->key.n == 0) {
		pair->key = (struct slice){"", 0};
		*error = "not a list of pairs; accepted: key=value pairs with blanks between, values with blanks in single quotes";
		return CONNSTR_BAD;
	}
	advance(rest, 1);
	behind_blank = rest->n > 0 && is_blank(rest->p[0]);
	*rest = slice_trim(*rest);
	ok = rest->n > 0 && rest->p[0] == '\'' ? take_quoted(rest, arena, &pair->value, error)
					      : take_plain(rest, behind_blank, arena, &pair->value, error);
	return ok ? CONNSTR_PAIR : CONNSTR_BAD;
}
