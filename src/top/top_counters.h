/*
 * What has happened between two readings, from the counters in STATS.
 */
#pragma once
#include "top/top_answer.h"
#include "top/top_reading.h"

/* X(symbol, column of STATS). */
#define TOP_COUNTERS(X)                                     \
	X(XACTS, "total_xact_count")                        \
	X(QUERIES, "total_query_count")                     \
	X(RECEIVED, "total_received")                       \
	X(SENT, "total_sent")                               \
	X(XACT_TIME, "total_xact_time")                     \
	X(QUERY_TIME, "total_query_time")                   \
	X(WAIT_TIME, "total_wait_time")                     \
	X(ASSIGNMENTS, "total_server_assignment_count")

#define X(symbol, column) TOP_##symbol,
enum top_counter { TOP_COUNTERS(X) TOP_NCOUNTERS };
#undef X

/* What a counter has grown by. NAN: one that the peer does not have, that has gone back, or that was read only once. */
struct top_growth {
	double by[TOP_NCOUNTERS];
	double seconds;
};

/* Of nothing at all. */
struct top_growth top_growth_none(const struct top_reading *before, const struct top_reading *now);

/* Of the database in this row of now's STATS; `before` finds it in the other reading. A new one began at 0. */
struct top_growth top_growth_of(const struct top_reading *before, const struct top_index *index,
				const struct top_reading *now, int row);

void top_growth_add(struct top_growth *sum, const struct top_growth *g);

/* A second. */
double top_growth_rate(const struct top_growth *g, enum top_counter counter);

/* Microseconds for each; NAN when there were none. */
double top_growth_mean_xact(const struct top_growth *g);
double top_growth_mean_query(const struct top_growth *g);

/* For each time that a server was assigned, or for each transaction where the peer does not count those. */
double top_growth_mean_wait(const struct top_growth *g);
