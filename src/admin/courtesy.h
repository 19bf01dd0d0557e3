/*
 * What drivers say to any PostgreSQL, unasked: transaction blocks around all
 * they send, settings at connect, resets at the end. There is nothing on the
 * console that it could mean, and no reason to fail for it.
 */
#pragma once
#include "base/str.h"
#include "report/table.h"

enum courtesy_effect {
	COURTESY_NONE,
	COURTESY_BEGIN,                  /* a block begins, which is a state that drivers look at and nothing else */
	COURTESY_END,                    /* it ends */
	COURTESY_DEALLOCATE,             /* the prepared statement that is its last word goes */
	COURTESY_DEALLOCATE_ALL,
};

struct courtesy {
	const char *pattern;             /* words between blanks; a * at the end stands for one or more, of any kind */
	const char *tag;                 /* of its CommandComplete */
	enum courtesy_effect effect;
	bool is_ignored;                 /* it would have an effect on a server: the client is told that it has none here */
};

/* NULL: the statement is none of these. */
const struct courtesy *courtesy_find(struct slice sql);

/* Whether SET may name it, to no effect. */
bool courtesy_is_setting(const char *name);

/* What SHOW has for a setting of a server's: one row; NULL if there is nothing. */
const struct table *courtesy_table(const char *name);

/* The same for a SHOW of more than one word. */
const struct table *courtesy_shows(struct slice sql);

/* The last word of a statement, without quotes around it. */
struct slice courtesy_last_word(struct slice sql);
