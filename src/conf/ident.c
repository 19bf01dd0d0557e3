#include "conf/ident.h"

#include "conf/fields.h"
#include "conf/pattern.h"

/* A name, or a pattern when that is not NULL. */
struct name_test {
	struct slice name;
	const struct pattern *pattern;
};

struct ident_line {
	const char *map;
	struct name_test system_user;
	struct name_test user;
	bool is_for_all;                 /* users */
	bool has_group;                  /* the user's name has \1 in it */
	struct ident_line *next;
};

struct ident {
	struct patterns patterns;
	struct ident_line *lines, **last;
	uint64_t digest;
};

static bool read_test(struct ident *ident, struct fields *f, const struct fields_token *token, struct name_test *test)
{
	const char *error;

	if (!token->is_quoted && token->text.p[0] == '@' && token->text.n > 1) {
		conf_error(f->problems, f->at, "%.*s: files are not read here; accepted: the name in quotes",
			   CONF_EXCERPT(token->text));
		return false;
	}
	test->name = (struct slice){arena_copy(ident->patterns.arena, token->text), token->text.n};
	if (token->text.p[0] != '/')
		return true;
	test->pattern = pattern_new(&ident->patterns, (struct slice){token->text.p + 1, token->text.n - 1}, &error);
	if (test->pattern == NULL)
		conf_error(f->problems, f->at, "%.*s: no regular expression: %s", CONF_EXCERPT(token->text), error);
	return test->pattern != NULL;
}

static bool read_user(struct ident *ident, struct fields *f, const struct fields_token *token, struct ident_line *line)
{
	const struct pattern *system = line->system_user.pattern;

	if (!token->is_quoted && token->text.p[0] == '+') {
		conf_error(f->problems, f->at,
			   "%.*s: groups are not known here; accepted: a name, all, a /regular expression",
			   CONF_EXCERPT(token->text));
		return false;
	}
	if (!read_test(ident, f, token, &line->user))
		return false;
	line->is_for_all = !token->is_quoted && slice_is(token->text, "all");
	line->has_group = system != NULL && line->user.pattern == NULL && strstr(line->user.name.p, "\\1") != NULL;
	if (line->has_group && !pattern_has_group(system)) {
		conf_error(f->problems, f->at, "%.*s: \\1 needs a part in parentheses in %.*s",
			   CONF_EXCERPT(token->text), CONF_EXCERPT(line->system_user.name));
		return false;
	}
	return true;
}

static void read_line(struct ident *ident, struct fields *f)
{
	struct ident_line *line = arena_alloc(ident->patterns.arena, sizeof(*line));
	struct fields_token map, system_user, user, more;
	enum fields_step step;

	if (!fields_take_one(f, "name of the map", &map) || !fields_take_one(f, "system user", &system_user) ||
	    !fields_take_one(f, "user", &user))
		return;
	step = fields_take(f, &more);
	if (step == FIELDS_TOKEN)
		conf_error(f->problems, f->at, "more than three fields; accepted: map, system user, user");
	if (step != FIELDS_END)
		return;
	line->map = arena_copy(ident->patterns.arena, map.text);
	if (!read_test(ident, f, &system_user, &line->system_user) || !read_user(ident, f, &user, line))
		return;
	*ident->last = line;
	ident->last = &line->next;
}

uint64_t ident_digest(const struct ident *ident)
{
	return ident != NULL ? ident->digest : 0;
}

struct ident *ident_read(const char *file, struct arena *arena, struct conf_problems *problems)
{
	struct ident *ident = arena_alloc(arena, sizeof(*ident));
	struct arena *scratch = arena_new();
	const char *error;
	struct fields f;

	patterns_init(&ident->patterns, arena);
	ident->last = &ident->lines;
	if (!fields_open(&f, file, scratch, problems, &error))
		conf_error(problems, f.at, "auth_ident_file cannot be read: %s", error);
	else
		ident->digest = fields_digest(&f, 0);
	while (fields_next_line(&f))
		read_line(ident, &f);
	arena_free(scratch);
	return ident;
}

void ident_free(struct ident *ident)
{
	if (ident != NULL)
		patterns_free(&ident->patterns);
}

/* Whether `name` is the line's user with the group in the place of its first \1. */
static bool is_expanded(struct slice user, struct slice group, struct slice name)
{
	size_t before = (size_t)(strstr(user.p, "\\1") - user.p), behind = user.n - before - 2;

	return group.p != NULL && name.n == before + group.n + behind &&
	       slice_eq((struct slice){name.p, before}, (struct slice){user.p, before}) &&
	       slice_eq((struct slice){name.p + before, group.n}, group) &&
	       slice_eq((struct slice){name.p + before + group.n, behind}, (struct slice){user.p + before + 2, behind});
}

static bool passes(const struct name_test *test, struct slice name, struct slice *group)
{
	if (test->pattern != NULL)
		return pattern_match(test->pattern, name, group) == MATCH_YES;
	return slice_eq(test->name, name);
}

static bool line_allows(const struct ident_line *line, struct slice system_user, struct slice user)
{
	struct slice group = {NULL, 0};

	if (!passes(&line->system_user, system_user, &group))
		return false;
	if (line->is_for_all)
		return true;
	return line->has_group ? is_expanded(line->user.name, group, user) : passes(&line->user, user, NULL);
}

bool ident_allows(const struct ident *ident, const char *map, struct slice system_user, struct slice user)
{
	if (map == NULL)
		return slice_eq(system_user, user);
	for (const struct ident_line *line = ident != NULL ? ident->lines : NULL; line != NULL; line = line->next) {
		if (strcmp(line->map, map) == 0 && line_allows(line, system_user, user))
			return true;
	}
	return false;
}
