/*
 * PREPARED_STATEMENTS: the statements that clients have prepared.
 */
#include "report/tables.h"

#include <stdlib.h>

#include "pool/stmts.h"

/* Of a longer query, the beginning. */
#define QUERY_SHOWN 1000

/* Bytes 10xxxxxx go on with a character of UTF-8, of which there are four at most. */
static bool goes_on(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* The query, cut between two characters. If it is no UTF-8, anywhere. */
static struct slice query_of(const struct stmt *s)
{
	struct slice query = stmt_text(s);
	size_t n = QUERY_SHOWN;

	if (query.n <= QUERY_SHOWN)
		return query;
	while (n > QUERY_SHOWN - 3 && goes_on(query.p[n]))
		n--;
	query.n = goes_on(query.p[n]) ? QUERY_SHOWN : n;
	return query;
}

static const char *kind_word(const struct stmt *s)
{
	return s->kind == STMT_PARSED ? "parse" : "sql";
}

static int by_id(const void *a, const void *b)
{
	const struct stmt *x = *(const struct stmt *const *)a, *y = *(const struct stmt *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

#define PREPARED_STATEMENTS_COLUMNS(X)                     \
	X(name, TEXT, cell_slice(stmt_name(s)))            \
	X(kind, TEXT, cell_text(kind_word(s)))             \
	X(query, TEXT, cell_slice(query_of(s)))            \
	X(version, INT8, cell_number(s->version))          \
	X(clients, INT8, cell_number(s->nclients))         \
	X(servers, INT8, cell_number(s->nservers))         \
	X(binds, NUMERIC, cell_number((int64_t)s->nbinds)) \
	X(size, INT8, cell_number(s->size))

static bool prepared_statements_rows(const struct report *r, struct row_sink *sink)
{
	const struct stmts *all = r->hub->stmts;
	size_t n = stmts_count(all), i = 0;
	const struct stmt **sorted = calloc(n, sizeof(sorted[0]));

	if (sorted == NULL)
		return n == 0;
	for (const struct stmt *s = stmts_next(all, NULL); s != NULL; s = stmts_next(all, s))
		sorted[i++] = s;
	qsort(sorted, n, sizeof(sorted[0]), by_id);
	for (i = 0; i < n; i++) {
		const struct stmt *s = sorted[i];

		sink->on_row(sink, (const struct cell[]){PREPARED_STATEMENTS_COLUMNS(TABLE_CELL)});
	}
	free(sorted);
	return true;
}

static const struct column prepared_statements_columns[] = {PREPARED_STATEMENTS_COLUMNS(TABLE_COLUMN)};
const struct table table_prepared_statements =
	TABLE("PREPARED_STATEMENTS", prepared_statements_columns, prepared_statements_rows);
