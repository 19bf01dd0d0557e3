#include "conf/pattern.h"

#include <ctype.h>
#include <regex.h>

struct pattern {
	regex_t compiled;
	struct pattern *next;
};

/* A translation being made. What it reads ends in NUL. */
struct translation {
	const char *p;
	struct strbuf out;
	const char *error;
};

/* A set of characters that one letter behind a backslash stands for. */
struct class_escape {
	char letter;
	const char *outside;
	const char *inside;              /* in brackets; NULL when it cannot stand there */
};

static const struct class_escape class_escapes[] = {
	{'d', "[[:digit:]]", "[:digit:]"}, {'s', "[[:space:]]", "[:space:]"}, {'w', "[_[:alnum:]]", "_[:alnum:]"},
	{'D', "[^[:digit:]]", NULL},       {'S', "[^[:space:]]", NULL},       {'W', "[^_[:alnum:]]", NULL},
};

static const struct class_escape *find_class(char letter)
{
	for (size_t i = 0; i < sizeof(class_escapes) / sizeof(class_escapes[0]); i++) {
		if (class_escapes[i].letter == letter)
			return &class_escapes[i];
	}
	return NULL;
}

static void copy(struct translation *t, size_t n)
{
	strbuf_add(&t->out, t->p, n);
	t->p += n;
}

/* At the backslash. Before punctuation it makes just that of it, in both kinds of expressions. */
static void translate_escape(struct translation *t)
{
	const struct class_escape *class = find_class(t->p[1]);

	if (class != NULL)
		strbuf_add_str(&t->out, class->outside);
	else if (isalnum((unsigned char)t->p[1]))
		t->error = "an escape that is not known; accepted: \\d \\D \\s \\S \\w \\W and punctuation";
	else if (t->p[1] == '\0')
		t->error = "ends in a backslash";
	else if (strchr("^.[$()|*+?{\\", t->p[1]) != NULL)
		strbuf_add(&t->out, t->p, 2);
	else
		strbuf_add_char(&t->out, t->p[1]);
	t->p += t->error == NULL ? 2 : 0;
}

/* At a backslash in brackets, where the C library would take it for itself. */
static void translate_bracket_escape(struct translation *t)
{
	const struct class_escape *class = find_class(t->p[1]);

	if (class != NULL && class->inside != NULL)
		strbuf_add_str(&t->out, class->inside);
	else if (t->p[1] != '\0' && strchr("\\./+*?$(){}|@#,;!%&'\"~ ", t->p[1]) != NULL)
		strbuf_add_char(&t->out, t->p[1]);
	else
		t->error = "an escape in brackets that is not known; accepted: \\d \\s \\w \\\\ and punctuation but [ ] ^ -";
	t->p += t->error == NULL ? 2 : 0;
}

/* At "[:", "[." or "[=" in brackets. */
static void copy_class(struct translation *t)
{
	const char end[] = {t->p[1], ']', '\0'};
	const char *at = strstr(t->p + 2, end);

	if (at == NULL)
		t->error = "a class in brackets does not end";
	else
		copy(t, (size_t)(at - t->p) + 2);
}

/* At the opening bracket. */
static void translate_brackets(struct translation *t)
{
	copy(t, t->p[1] == '^' ? 2 : 1);
	if (*t->p == ']')
		copy(t, 1);
	while (t->error == NULL && *t->p != ']') {
		if (*t->p == '\0')
			t->error = "brackets do not end";
		else if (t->p[0] == '[' && t->p[1] != '\0' && strchr(":.=", t->p[1]) != NULL)
			copy_class(t);
		else if (t->p[0] == '[' && t->p[1] == '\\')
			t->error = "a [ in brackets must not stand before a backslash";
		else if (*t->p == '\\')
			translate_bracket_escape(t);
		else
			copy(t, 1);
	}
	if (t->error == NULL)
		copy(t, 1);
}

/* At * + ? or {. One behind another makes it modest in PostgreSQL, and something else in the C library. */
static void translate_quantifier(struct translation *t)
{
	if (t->p[0] == '{' && !isdigit((unsigned char)t->p[1])) {
		strbuf_add_str(&t->out, "\\{");
		t->p++;
		return;
	}
	copy(t, t->p[0] == '{' ? strcspn(t->p, "}") : 1);
	if (*t->p == '}')
		copy(t, 1);
	if (*t->p != '\0' && (strchr("*+?", *t->p) != NULL || (t->p[0] == '{' && isdigit((unsigned char)t->p[1]))))
		t->error = "a quantifier follows another; accepted: * + ? {m,n} by themselves";
}

static void translate(struct translation *t)
{
	while (t->error == NULL && *t->p != '\0') {
		if (*t->p == '\\')
			translate_escape(t);
		else if (*t->p == '[')
			translate_brackets(t);
		else if (strchr("*+?{", *t->p) != NULL)
			translate_quantifier(t);
		else
			copy(t, 1);
	}
	if (t->error == NULL && t->out.failed)
		t->error = "out of memory";
}

/* The C library's own words for what is wrong, or NULL. */
static const char *compile(struct pattern *p, const char *expression, struct arena *arena)
{
	int failure = regcomp(&p->compiled, expression, REG_EXTENDED);
	char text[128];

	if (failure == 0)
		return NULL;
	regerror(failure, &p->compiled, text, sizeof(text));
	return arena_copy(arena, slice_of(text));
}

struct pattern *pattern_new(struct patterns *all, struct slice expression, const char **error)
{
	struct pattern *p = arena_alloc(all->arena, sizeof(*p));
	struct translation t = {.p = expression.p};
	struct guard guard;

	strbuf_init(&t.out);
	guard_strbuf(&guard, &t.out);
	strbuf_add_str(&t.out, "");
	translate(&t);
	*error = t.error != NULL ? t.error : compile(p, t.out.p, all->arena);
	guard_lift(&guard);
	strbuf_fini(&t.out);
	if (*error != NULL)
		return NULL;
	p->next = all->first;
	all->first = p;
	return p;
}

static void undo_patterns(void *all)
{
	patterns_free(all);
}

void patterns_init(struct patterns *all, struct arena *arena)
{
	*all = (struct patterns){.arena = arena};
	guard_set(&all->guard, undo_patterns, all);
}

void patterns_free(struct patterns *all)
{
	guard_lift(&all->guard);
	for (struct pattern *p = all->first; p != NULL; p = p->next)
		regfree(&p->compiled);
	all->first = NULL;
}

bool pattern_has_group(const struct pattern *p)
{
	return p->compiled.re_nsub > 0;
}

enum match pattern_match(const struct pattern *p, struct slice name, struct slice *group)
{
	/* REG_STARTEND: the first one says on the way in where the name, which needs no NUL, ends. */
	regmatch_t at[2] = {{0, (regoff_t)name.n}, {-1, -1}};
	int failure = regexec(&p->compiled, name.n > 0 ? name.p : "", 2, at, REG_STARTEND);

	if (failure != 0)
		return failure == REG_NOMATCH ? MATCH_NO : MATCH_FAILED;
	if (group != NULL) {
		*group = (struct slice){NULL, 0};
		if (at[1].rm_so >= 0)
			*group = (struct slice){name.p + at[1].rm_so, (size_t)(at[1].rm_eo - at[1].rm_so)};
	}
	return MATCH_YES;
}
