/*
 * A table to be shown: columns with titles, rows of cells, and the order they are shown in.
 *
 * The table owns its texts, which are safe to be written to a terminal. Out of
 * memory ends the program (base/arena).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"

enum top_kind {
	TOP_TEXT,
	TOP_COUNT,
	TOP_RATE,      /* a second */
	TOP_BYTES,     /* a second */
	TOP_TIME,      /* microseconds */
	TOP_SHARE,     /* 1 is all */
	TOP_VALUE,     /* a number as the peer has written it */
};

struct top_column {
	const char *title;
	enum top_kind kind;
};

/* A number that is not known is NAN. */
struct top_cell {
	const char *text;          /* of TOP_TEXT and TOP_VALUE */
	double number;             /* of all others and TOP_VALUE */
};

#define TOP_MAX_COLUMNS 64

struct top_table {
	struct arena *arena;
	bool is_plain;             /* for scripts: one field a cell, numbers without units */
	struct top_column columns[TOP_MAX_COLUMNS];
	size_t ncolumns;
	struct top_cell *cells;    /* nrows times ncolumns */
	size_t nrows, room;
	size_t *order;             /* rows, as top_table_arrange() has left them */
	size_t nshown;
};

void top_table_init(struct top_table *t, bool is_plain);
void top_table_fini(struct top_table *t);

/* Columns first (those beyond TOP_MAX_COLUMNS are left out), then the room for rows, then these. */
void top_table_add_column(struct top_table *t, const char *title, enum top_kind kind);
void top_table_reserve(struct top_table *t, size_t nrows);

/* The cells of a new row, for the next ones to be filled in; all that was not reserved is a fault of the caller's. */
struct top_cell *top_table_add_row(struct top_table *t);

/* Text from the peer as a cell of this table. */
struct top_cell top_table_text(struct top_table *t, const char *text);

/* Its place, or ncolumns if there is none with this title. */
size_t top_table_column(const struct top_table *t, const char *title);

/*
 * Puts those rows into order that have the filter ("" lets all pass; case does
 * not count) in one of their texts: numbers begin with the highest and texts
 * with the first, is_reverse turns that; what is not known comes last either
 * way. Equal ones keep the order of their texts.
 */
void top_table_arrange(struct top_table *t, const char *sort, bool is_reverse, const char *filter);

/* The nth row of those shown. */
const struct top_cell *top_table_shown(const struct top_table *t, size_t n);

/* What stands in a cell of this column; "-" for a number that is not known. */
void top_table_put(const struct top_table *t, const struct top_cell *cell, size_t column, struct strbuf *out);

/* Columns of the terminal that this one takes in n of the shown rows from `first` on, its title included. */
int top_table_width(const struct top_table *t, size_t column, size_t first, size_t n);
