/*
 * ERRORS: what has gone wrong lately, in groups.
 */
#include "report/tables.h"

#include <stdlib.h>

#define ERRORS_COLUMNS(X)                                                   \
	X(sqlstate, TEXT, cell_text(g->sqlstate))                           \
	X(reason, TEXT, cell_text(g->reason))                               \
	X(database, TEXT, g->is_rest ? cell_null() : cell_text(g->database)) \
	X(user, TEXT, g->is_rest ? cell_null() : cell_text(g->user))        \
	X(count, INT8, cell_number((int64_t)g->count))                      \
	X(first, TIME, cell_time(g->first_at))                              \
	X(last, TIME, cell_time(g->last_at))                                \
	X(message, TEXT, cell_text(g->message))

static int by_last(const void *a, const void *b)
{
	const struct error_group *x = *(const struct error_group *const *)a, *y = *(const struct error_group *const *)b;

	if (x->last_at != y->last_at)
		return x->last_at < y->last_at ? 1 : -1;
	return x < y ? -1 : x > y;
}

/* The last one met comes first. */
static bool errors_rows(const struct report *r, struct row_sink *sink)
{
	const struct errors *errors = &r->hub->errors;
	const struct error_group *order[ERRORS_MAX];

	for (unsigned i = 0; i < errors->n; i++)
		order[i] = &errors->groups[i];
	/* cppcheck-suppress uninitvar */
	qsort(order, errors->n, sizeof(order[0]), by_last);
	for (unsigned i = 0; i < errors->n; i++) {
		const struct error_group *g = order[i];

		sink->on_row(sink, (const struct cell[]){ERRORS_COLUMNS(TABLE_CELL)});
	}
	return true;
}

static const struct column errors_columns[] = {ERRORS_COLUMNS(TABLE_COLUMN)};
const struct table table_errors = TABLE("ERRORS", errors_columns, errors_rows);
