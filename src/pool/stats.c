#include "pool/stats.h"

void stats_add(struct stats *sum, const struct stats *more)
{
#define X(name) sum->name += more->name;
	STATS(X)
#undef X
}

void stats_add_history(struct stats_history *sum, const struct stats_history *more)
{
	stats_add(&sum->now, &more->now);
	stats_add(&sum->last, &more->last);
	stats_add(&sum->before_last, &more->before_last);
}

void stats_turn(struct stats_history *h)
{
	h->before_last = h->last;
	h->last = h->now;
}

static uint64_t ratio(uint64_t amount, uint64_t count)
{
	return count == 0 ? 0 : amount / count;
}

static uint64_t per_second(uint64_t amount, uint64_t period_us)
{
	return period_us == 0 ? 0 : (uint64_t)((double)amount * 1e6 / (double)period_us);
}

void stats_average(const struct stats *from, const struct stats *to, uint64_t period_us, struct stats *average)
{
#define X(name) average->name = per_second(to->name - from->name, period_us);
	STATS(X)
#undef X
	average->xact_time = ratio(to->xact_time - from->xact_time, to->xact_count - from->xact_count);
	average->query_time = ratio(to->query_time - from->query_time, to->query_count - from->query_count);
	average->wait_time = ratio(to->wait_time - from->wait_time,
				   to->server_assignment_count - from->server_assignment_count);
}
