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

#define PREPARED_STATEMENTS_COLUMNS(X)                     \
	X(name, TEXT, cell_slice(stmt_name(s)))            \
	X(kind, TEXT, cell_text(kind_word(s)))             \
	X(query, TEXT, cell_slice(query_of(s)))            \
	X(version, INT8, cell_number(s->version))          \
	X(clients, INT8, cell_number(s->nclients))         \
	X(servers, INT8, cell_number(s->nservers))         \
	X(binds, NUMERIC, cell_number((int64_t)s->nbinds)) \
	X(size, INT8, cell_number((int64_t)stmt_body(s).n))

/* Those that there were at the beginning, oldest first: what finds them again. */
struct known {
	size_t n;
	struct known_stmt {
		uint64_t id, hash;
	} items[];
};

static int by_id(const void *a, const void *b)
{
	const struct known_stmt *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* NULL when out of memory. */
static struct known *note_all(const struct stmts *all)
{
	struct known *k = malloc(sizeof(*k) + stmts_count(all) * sizeof(k->items[0]));

	if (k == NULL)
		return NULL;
	k->n = 0;
	for (const struct stmt *s = stmts_next(all, NULL); s != NULL; s = stmts_next(all, s))
		k->items[k->n++] = (struct known_stmt){s->id, s->hashed.hash};
	qsort(k->items, k->n, sizeof(k->items[0]), by_id);
	return k;
}

static enum told prepared_statements_piece(const struct report *r, struct table_place *place, unsigned most,
					   struct row_sink *sink)
{
	const struct known *known;

	if (place->notes == NULL)
		place->notes = note_all(r->hub->stmts);
	known = place->notes;
	if (known == NULL)
		return TOLD_OUT_OF_MEMORY;
	for (; most > 0 && place->at < known->n; place->at++, most--) {
		const struct known_stmt *k = &known->items[place->at];
		const struct stmt *s = stmts_find_again(r->hub->stmts, k->hash, k->id);

		if (s != NULL)
			sink->on_row(sink, (const struct cell[]){PREPARED_STATEMENTS_COLUMNS(TABLE_CELL)});
	}
	return place->at < known->n ? TOLD_SOME : TOLD_ALL;
}

static const struct column prepared_statements_columns[] = {PREPARED_STATEMENTS_COLUMNS(TABLE_COLUMN)};
const struct table table_prepared_statements =
	TABLE_IN_PIECES("PREPARED_STATEMENTS", prepared_statements_columns, prepared_statements_piece);
