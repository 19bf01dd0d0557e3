/*
 * A table on its way to a client: its rows as messages, some at a time. Tables
 * that may be long are asked for rows when there is room for them; of all
 * others the rows are made at once. What has been made and is not asked for yet
 * is kept until then.
 */
#pragma once
#include "base/str.h"
#include "report/table.h"

/* Bit i: column i in binary. */
typedef uint64_t binary_columns;

/* More columns than any table has. */
#define TELLING_COLUMNS_MAX 64

struct telling {
	const struct table *table;
	binary_columns binary;
	struct table_place place;
	struct strbuf built;             /* rows made and not handed out yet are those behind `taken` */
	size_t taken;
	bool is_made;                    /* there are no more behind them */
};

/* Nothing is read yet. To be ended by telling_end(). */
void telling_init(struct telling *t, const struct table *table, binary_columns binary);

/* All zero is allowed, and what it is afterwards. */
void telling_end(struct telling *t);

/* RowDescription. */
void telling_header(const struct table *table, binary_columns binary, struct strbuf *out);

/*
 * Appends the next rows, no more than *most, which is reduced by how many
 * there were. Of a table told in pieces no more than *budget sessions (or
 * what else has rows) are looked at, and it is reduced by those.
 */
enum told telling_go_on(struct telling *t, const struct report *r, unsigned *budget, uint32_t *most,
			struct strbuf *out);
