/*
 * Regular expressions as pg_hba.conf and pg_ident.conf have them.
 *
 * PostgreSQL's expressions are "advanced" ones, those of the C library POSIX
 * "extended" ones. What both read the same is taken as it is, \d \s \w and
 * the like are translated, and what they would read differently is refused.
 */
#pragma once
#include <stdbool.h>

#include "base/arena.h"
#include "base/attempt.h"
#include "base/str.h"

struct pattern;

/* The patterns of one file. The arena's end does not free what the C library holds for them. */
struct patterns {
	struct arena *arena;
	struct pattern *first;
	struct guard guard;
};
void patterns_init(struct patterns *all, struct arena *arena);
void patterns_free(struct patterns *all);

/* Compiles an expression, which ends in NUL. NULL on failure, with what is wrong in *error, in the arena. */
struct pattern *pattern_new(struct patterns *all, struct slice expression, const char **error);

bool pattern_has_group(const struct pattern *p);

enum match { MATCH_NO, MATCH_YES, MATCH_FAILED /* out of memory: the caller decides for refusal */ };

/*
 * Whether a name matches, anywhere unless the expression says otherwise.
 * `group` may be NULL; it is set to the part that the first ( ) matched, with p
 * NULL when it took no part.
 */
enum match pattern_match(const struct pattern *p, struct slice name, struct slice *group);
