/*
 * A statement that has been understood, by whichever protocol it came.
 */
#pragma once
#include <stdbool.h>

#include "admin/courtesy.h"
#include "admin/statement.h"
#include "base/str.h"
#include "report/table.h"

struct visitor;

struct plan {
	struct statement statement;
	const struct courtesy *courtesy; /* NULL: none */
	const struct table *table;       /* which it shows; NULL: none */
};

void plan_make(const struct client *c, struct slice sql, struct plan *plan);

/* It can mean nothing. */
bool plan_is_bad(const struct plan *plan);

/* It has a $1 in it. */
bool plan_has_parameters(const struct plan *plan);

/*
 * Runs one that shows no table, and answers. False: nothing was answered, and
 * nothing is to follow, or not yet.
 */
bool plan_run(struct visitor *v, const struct plan *plan, struct slice sql, struct strbuf *out);
