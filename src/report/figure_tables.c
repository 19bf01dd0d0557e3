/*
 * POOL_STATS, POOL_EVENTS, LATENCY, LATENCY_TOTALS: how well pools do what they are for.
 */
#include "report/tables.h"

#include <stdlib.h>

#include "base/clock.h"
#include "report/subjects.h"
#include "session/server.h"

#define DATABASE(pool) cell_slice(atom_slice((pool)->database->name))
#define USER(pool) cell_slice(atom_slice((pool)->user->name))
#define COUNT(value) cell_number((int64_t)(value))

/* --- POOL_STATS --- */

/*
 * A hit is a client that got an idle server at once, a miss one that had to
 * wait, for however short. reuse_ratio says how often a server was given out
 * for each time one was opened: 1 - created / assignments. It falls when
 * connections are opened and closed for few clients each; that clients wait
 * for each other leaves it alone.
 */
#define POOL_STATS_COLUMNS(X)                                                                      \
	X(database, TEXT, DATABASE(p))                                                             \
	X(user, TEXT, USER(p))                                                                     \
	X(active, INT4, COUNT(p->nservers[POOL_SERVER_ACTIVE]))                                    \
	X(idle, INT4, COUNT(p->nservers[POOL_SERVER_IDLE]))                                        \
	X(waiting, INT4, COUNT(p->nwaiting + p->nlogins))                                          \
	X(limit, INT4, COUNT(p->settings.size))                                                    \
	X(transactions, INT8, COUNT(p->stats.now.xact_count))                                      \
	X(queries, INT8, COUNT(p->stats.now.query_count))                                          \
	X(hits, INT8, COUNT(p->stats.now.pool_hits))                                               \
	X(misses, INT8, COUNT(p->stats.now.pool_misses))                                           \
	X(created, INT8, COUNT(c->created))                                                        \
	X(closed, INT8, COUNT(pool_counts_closed(c)))                                              \
	X(open, INT4, COUNT(pool_server_count(p)))                                                 \
	X(reuse_ratio, RATIO, reuse_cell(p))                                                       \
	X(load_factor, RATIO, cell_ratio(p->nservers[POOL_SERVER_ACTIVE], p->settings.size))       \
	X(oldest_wait_us, INT8, COUNT(pool_maxwait_us(p, clock_us())))                             \
	X(client_closes, INT8, COUNT(pool_counts_client_closes(c)))                                \
	X(login_failures, INT8, COUNT(pool_counts_login_failures(c)))                              \
	X(timeouts, INT8, COUNT(pool_counts_timeouts(c)))                                          \
	X(pins, INT8, COUNT(pool_counts_pins(c)))

/* A pool may open more than it has ever given out: a minimum that nobody asks for, or attempts that fail. */
static struct cell reuse_cell(const struct pool *pool)
{
	uint64_t created = pool_session(pool)->counts.created, assigned = pool->stats.now.server_assignment_count;

	return cell_ratio(created < assigned ? assigned - created : 0, assigned);
}

/* The console is no pool. */
static bool pool_stats_row(const struct report *r, struct row_sink *sink, const struct subject *s)
{
	const struct pool *p = s->pool;
	const struct pool_counts *c = p == NULL ? NULL : &pool_session(p)->counts;

	(void)r;
	if (p != NULL)
		sink->on_row(sink, (const struct cell[]){POOL_STATS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told pool_stats_piece(const struct report *r, struct table_place *place, unsigned most,
				  struct row_sink *sink)
{
	return subjects_piece(&subject_pools, r, place, most, sink, pool_stats_row);
}

static const struct column pool_stats_columns[] = {POOL_STATS_COLUMNS(TABLE_COLUMN)};
const struct table table_pool_stats = TABLE_IN_PIECES("POOL_STATS", pool_stats_columns, pool_stats_piece);

/* --- POOL_EVENTS --- */

#define POOL_EVENTS_COLUMNS(X)          \
	X(database, TEXT, DATABASE(p))  \
	X(user, TEXT, USER(p))          \
	X(event, TEXT, cell_text(event)) \
	X(reason, TEXT, cell_text(reason)) \
	X(message, TEXT, cell_text(message)) \
	X(count, INT8, COUNT(count))

/* What has never happened is left out. */
static void event_row(struct row_sink *sink, const struct pool *p, const char *event, const char *reason,
		      const char *message, uint64_t count)
{
	if (count > 0)
		sink->on_row(sink, (const struct cell[]){POOL_EVENTS_COLUMNS(TABLE_CELL)});
}

static void tell_events(struct row_sink *sink, const struct pool *p)
{
	const struct pool_counts *c = &pool_session(p)->counts;

	for (int i = SERVER_END_NONE + 1; i < SERVER_END_COUNT; i++)
		event_row(sink, p, "server_closed", server_end_symbol(i), server_end_text(i), c->closed[i]);
	for (int i = 0; i < CLOSE_REASON_COUNT; i++)
		event_row(sink, p, "client_closed", close_reasons[i].symbol, close_reasons[i].text, c->client_closes[i]);
	for (int i = 0; i < CLOSE_REASON_COUNT; i++)
		event_row(sink, p, "login_failed", close_reasons[i].symbol, close_reasons[i].text, c->login_failures[i]);
	for (int i = 0; i < PIN_COUNT; i++)
		event_row(sink, p, "pinned", pin_symbol(i), pin_text(i), c->pins[i]);
}

static bool pool_events_rows(const struct report *r, struct row_sink *sink, const struct subject *s)
{
	(void)r;
	if (s->pool != NULL)
		tell_events(sink, s->pool);
	return true;
}

static enum told pool_events_piece(const struct report *r, struct table_place *place, unsigned most,
				   struct row_sink *sink)
{
	return subjects_piece(&subject_pools, r, place, most, sink, pool_events_rows);
}

static const struct column pool_events_columns[] = {POOL_EVENTS_COLUMNS(TABLE_COLUMN)};
const struct table table_pool_events = TABLE_IN_PIECES("POOL_EVENTS", pool_events_columns, pool_events_piece);

/* --- LATENCY --- */

#define LATENCY_COLUMNS(X)                                          \
	X(database, TEXT, p == NULL ? cell_null() : DATABASE(p))    \
	X(user, TEXT, p == NULL ? cell_null() : USER(p))            \
	X(kind, TEXT, cell_text(latency_name(kind)))                \
	X(count, INT8, COUNT(h->count))                             \
	X(p50, INT8, percentile_cell(h, 0.5))                       \
	X(p90, INT8, percentile_cell(h, 0.9))                       \
	X(p99, INT8, percentile_cell(h, 0.99))                      \
	X(p99_9, INT8, percentile_cell(h, 0.999))                   \
	X(max, INT8, percentile_cell(h, 1))                         \
	X(mean, INT8, h->count == 0 ? cell_null() : COUNT(h->sum / h->count))

static struct cell percentile_cell(const struct histogram *h, double share)
{
	return h->count == 0 ? cell_null() : COUNT(histogram_percentile(h, share));
}

static void latency_row(struct row_sink *sink, const struct pool *p, enum latency_kind kind, const struct histogram *h)
{
	sink->on_row(sink, (const struct cell[]){LATENCY_COLUMNS(TABLE_CELL)});
}

/* To read the histograms of a pool takes as long as several other rows. */
static unsigned pools_of_piece(unsigned most)
{
	return most / LATENCY_KINDS + (most % LATENCY_KINDS > 0);
}

/* Where the rows of pools go, and what they are added to. */
struct latency_sink {
	struct row_sink sink;
	struct row_sink *to;
	struct histogram *sums;          /* of each kind */
};

/* What nothing was recorded of is left out. */
static bool latency_rows(const struct report *r, struct row_sink *sink, const struct subject *s)
{
	const struct latency_sink *l = (const struct latency_sink *)sink;

	(void)r;
	for (unsigned kind = 0; s->pool != NULL && kind < LATENCY_KINDS; kind++) {
		struct histogram h = {0};

		histogram_add_recent(&h, s->pool->latency[kind]);
		histogram_add_recent(&l->sums[kind], s->pool->latency[kind]);
		if (h.count > 0)
			latency_row(l->to, s->pool, kind, &h);
	}
	return true;
}

/*
 * Times of this stats_period and the last, in microseconds. Behind those of each pool, without database and user, those
 * of all of them together: to add up all pools at a time would take too long.
 */
static enum told latency_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	struct latency_sink l = {.to = sink};
	enum told told;

	if (place->kept == NULL)
		place->kept = calloc(LATENCY_KINDS, sizeof(*l.sums));
	l.sums = place->kept;
	if (l.sums == NULL)
		return TOLD_OUT_OF_MEMORY;
	told = subjects_piece(&subject_pools, r, place, pools_of_piece(most), &l.sink, latency_rows);
	for (unsigned kind = 0; told == TOLD_ALL && kind < LATENCY_KINDS; kind++)
		latency_row(sink, NULL, kind, &l.sums[kind]);
	return told;
}

static const struct column latency_columns[] = {LATENCY_COLUMNS(TABLE_COLUMN)};
const struct table table_latency = TABLE_IN_PIECES("LATENCY", latency_columns, latency_piece);

/* --- LATENCY_TOTALS --- */

/* below_7: how many took less than 2^7 microseconds, and so on; see HISTOGRAM_BOUNDS. */
#define BOUND_COLUMN(bits) {"below_" #bits, COLUMN_INT8},

static const struct column latency_totals_columns[] = {
	{"database", COLUMN_TEXT},
	{"user", COLUMN_TEXT},
	{"kind", COLUMN_TEXT},
	{"count", COLUMN_INT8},
	{"sum_us", COLUMN_INT8},
	HISTOGRAM_BOUNDS(BOUND_COLUMN)
};

#define LATENCY_TOTALS_COLUMN_COUNT (sizeof(latency_totals_columns) / sizeof(latency_totals_columns[0]))

static void latency_totals_row(struct row_sink *sink, const struct pool *p, enum latency_kind kind,
			       const struct histogram *h)
{
	struct cell cells[LATENCY_TOTALS_COLUMN_COUNT] = {DATABASE(p), USER(p), cell_text(latency_name(kind)),
							  COUNT(h->count), COUNT(h->sum)};
	const size_t first = LATENCY_TOTALS_COLUMN_COUNT - HISTOGRAM_BOUND_COUNT;
	uint64_t below[HISTOGRAM_BOUND_COUNT];

	histogram_cumulative(h, below);
	for (size_t i = 0; i < HISTOGRAM_BOUND_COUNT; i++)
		cells[first + i] = COUNT(below[i]);
	sink->on_row(sink, cells);
}

/* What nothing was ever recorded of is left out. */
static bool latency_totals_rows(const struct report *r, struct row_sink *sink, const struct subject *s)
{
	(void)r;
	for (unsigned kind = 0; s->pool != NULL && kind < LATENCY_KINDS; kind++) {
		struct histogram h = {0};

		histogram_add_total(&h, s->pool->latency[kind]);
		if (h.count > 0)
			latency_totals_row(sink, s->pool, kind, &h);
	}
	return true;
}

/* Since the pool is there. */
static enum told latency_totals_piece(const struct report *r, struct table_place *place, unsigned most,
				      struct row_sink *sink)
{
	return subjects_piece(&subject_pools, r, place, pools_of_piece(most), sink, latency_totals_rows);
}

const struct table table_latency_totals =
	TABLE_IN_PIECES("LATENCY_TOTALS", latency_totals_columns, latency_totals_piece);
