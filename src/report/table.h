/*
 * A table that people look at: its columns, and a function that tells its
 * rows as typed cells. How they are shown (the console's SHOW, say) is the
 * business of whoever hands in the sink.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "pool/stats.h"
#include "session/hub.h"

/* What the tables tell about. */
struct report {
	const struct hub *hub;
	const struct stats_history *console; /* of the console itself, which is no pool */
	const char *version;                 /* of this program */
	int listen_port;
};

/* X(name, PostgreSQL's type, its size) */
#define COLUMN_TYPES(X)     \
	X(TEXT, 25, -1)     \
	X(INT4, 23, 4)      \
	X(INT8, 20, 8)      \
	X(NUMERIC, 1700, -1) \
	X(RATIO, 1700, -1)  \
	X(TIME, 25, -1)     \
	X(BYTEA, 17, -1)

enum column_type {
#define X(name, oid, size) COLUMN_##name,
	COLUMN_TYPES(X)
#undef X
};

struct column {
	const char *name;
	enum column_type type;
};

uint32_t column_oid(enum column_type type);
int16_t column_size(enum column_type type);

struct cell {
	enum { CELL_NULL, CELL_NUMBER, CELL_RATIO, CELL_TEXT, CELL_TIME } kind;
	int64_t number;              /* NUMBER; RATIO: ten thousandths; TIME: microseconds since 1970 */
	struct slice text;           /* TEXT */
};

static inline struct cell cell_null(void)
{
	return (struct cell){.kind = CELL_NULL};
}

static inline struct cell cell_number(int64_t number)
{
	return (struct cell){.kind = CELL_NUMBER, .number = number};
}

#define CELL_RATIO_ONE 10000

/* With four digits behind the point; null when there is no whole. */
static inline struct cell cell_ratio(uint64_t part, uint64_t whole)
{
	if (whole == 0)
		return cell_null();
	return (struct cell){.kind = CELL_RATIO,
			     .number = (int64_t)((double)part / (double)whole * CELL_RATIO_ONE + 0.5)};
}

static inline struct cell cell_slice(struct slice text)
{
	return (struct cell){.kind = CELL_TEXT, .text = text};
}

/* NULL gives a null. */
static inline struct cell cell_text(const char *text)
{
	return text == NULL ? cell_null() : cell_slice(slice_of(text));
}

/* A point of the monotonic clock. */
struct cell cell_time(uint64_t monotonic_us);

#define CELL_ROOM 64

/* What a cell reads as: its own text, or what is written into the caller's room. Not for nulls. */
struct slice cell_print(const struct cell *cell, char room[CELL_ROOM]);

/* Takes a row, as many cells as the table has columns; they and their texts go when it returns. */
struct row_sink {
	void (*on_row)(struct row_sink *sink, const struct cell *cells);
};

enum told { TOLD_SOME, TOLD_ALL, TOLD_OUT_OF_MEMORY };

/* How far a table that is told in pieces has been told; all zero at the beginning. */
struct table_place {
	uint64_t at;
	void *notes;                 /* of who goes through the rows, and what the table itself keeps: table_leave() frees both */
	void *kept;
};

struct table {
	const char *name;            /* as in SHOW */
	const struct column *columns;
	size_t ncolumns;
	/* Tells all rows; false when out of memory, some may have been told by then. NULL: see `piece`. */
	bool (*rows)(const struct report *r, struct row_sink *sink);
	/*
	 * Of tables that may be long: tells the next rows and moves *place on, looking at no more than `most` of what
	 * has one. Those that come and go between two calls may be in the table or not; all others are, once. NULL: see
	 * `rows`.
	 */
	enum told (*piece)(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink);
	bool is_for_admins;          /* not for those who may only look */
};

/* All rows at once, however the table tells them; false when out of memory. */
bool table_tell(const struct table *table, const struct report *r, struct row_sink *sink);

/*
 * What a piece takes from a budget of `most`. Of one that did not end the table that is all of it; of one that did, what
 * its rows say was looked at: a few of them may be of one look.
 */
static inline unsigned table_looked_at(enum told told, unsigned nrows, unsigned most)
{
	return told == TOLD_SOME || nrows > most ? most : nrows;
}

/* Ends the telling of a table in pieces, wherever it is. */
void table_leave(struct table_place *place);

/*
 * A table's columns are a list of X(name, type, cell), from which both the
 * header and each row are made, so that they cannot disagree.
 */
#define TABLE_COLUMN(name, type, cell) {#name, COLUMN_##type},
#define TABLE_CELL(name, type, cell) cell,
#define TABLE_HEAD(name_, columns_) \
	.name = (name_), .columns = (columns_), .ncolumns = sizeof(columns_) / sizeof((columns_)[0])
#define TABLE(name_, columns_, rows_) {TABLE_HEAD(name_, columns_), .rows = (rows_)}
#define TABLE_IN_PIECES(name_, columns_, piece_) {TABLE_HEAD(name_, columns_), .piece = (piece_)}
