#include "top/top_counters.h"

#include <math.h>

static const char *const columns[TOP_NCOUNTERS] = {
#define X(symbol, column) [TOP_##symbol] = (column),
	TOP_COUNTERS(X)
#undef X
};

struct top_growth top_growth_none(const struct top_reading *before, const struct top_reading *now)
{
	struct top_growth g = {.seconds = NAN};
	bool is_twice = before->answers[TOP_STATS] != NULL && now->at_us > before->at_us;

	if (is_twice)
		g.seconds = (double)(now->at_us - before->at_us) / 1e6;
	for (int i = 0; i < TOP_NCOUNTERS; i++)
		g.by[i] = is_twice && top_answer_has(now->answers[TOP_STATS], columns[i]) ? 0 : NAN;
	return g;
}

struct top_growth top_growth_of(const struct top_reading *before, const struct top_index *index,
				const struct top_reading *now, int row)
{
	struct top_growth g = top_growth_none(before, now);
	const PGresult *stats = now->answers[TOP_STATS];
	int was = top_index_find(index, top_answer_text(stats, row, "database"));

	for (int i = 0; i < TOP_NCOUNTERS; i++) {
		g.by[i] += top_answer_number(stats, row, columns[i]);
		if (was >= 0)
			g.by[i] -= top_answer_number(before->answers[TOP_STATS], was, columns[i]);
		if (g.by[i] < 0)
			g.by[i] = NAN;
	}
	return g;
}

void top_growth_add(struct top_growth *sum, const struct top_growth *g)
{
	for (int i = 0; i < TOP_NCOUNTERS; i++)
		sum->by[i] += g->by[i];
}

double top_growth_rate(const struct top_growth *g, enum top_counter counter)
{
	return g->by[counter] / g->seconds;
}

static double mean(double time, double n)
{
	return n > 0 ? time / n : NAN;
}

double top_growth_mean_xact(const struct top_growth *g)
{
	return mean(g->by[TOP_XACT_TIME], g->by[TOP_XACTS]);
}

double top_growth_mean_query(const struct top_growth *g)
{
	return mean(g->by[TOP_QUERY_TIME], g->by[TOP_QUERIES]);
}

double top_growth_mean_wait(const struct top_growth *g)
{
	double times = g->by[TOP_ASSIGNMENTS];

	return mean(g->by[TOP_WAIT_TIME], isnan(times) ? g->by[TOP_XACTS] : times);
}
