/*
 * What is counted: one table, summed over pools for databases and totals.
 */
#pragma once
#include <stdint.h>

/* X(name): in the order of SHOW STATS_TOTALS, then what it does not show. Times are in microseconds. */
#define STATS(X)                   \
	X(server_assignment_count) \
	X(xact_count)              \
	X(query_count)             \
	X(bytes_received)          \
	X(bytes_sent)              \
	X(xact_time)               \
	X(query_time)              \
	X(wait_time)               \
	X(client_parse_count)      \
	X(server_parse_count)      \
	X(bind_count)              \
	X(prepared_hits)           \
	X(prepared_evictions)      \
	X(prepared_retries)        \
	X(pool_hits)               \
	X(pool_misses)

struct stats {
#define X(name) uint64_t name;
	STATS(X)
#undef X
};

#define X(name) +1
enum { STATS_COUNT = 0 STATS(X) };
#undef X

/* Counters that only grow, and what they were at the last two turns of stats_period. */
struct stats_history {
	struct stats now, last, before_last;
};

void stats_add(struct stats *sum, const struct stats *more);
void stats_add_history(struct stats_history *sum, const struct stats_history *more);

/* A period has ended. */
void stats_turn(struct stats_history *h);

/*
 * Averages of the last whole period: counts and bytes a second, times for each
 * transaction, query or (wait) assignment.
 */
void stats_average(const struct stats *from, const struct stats *to, uint64_t period_us, struct stats *average);
