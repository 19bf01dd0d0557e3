#include "base/histogram.h"

#include <math.h>
#include <string.h>

#define SUB_BUCKETS (1u << HISTOGRAM_SUB_BITS)

const uint64_t histogram_bounds[HISTOGRAM_BOUND_COUNT] = {
#define X(bits) UINT64_C(1) << (bits),
	HISTOGRAM_BOUNDS(X)
#undef X
};

uint64_t histogram_bucket_top(unsigned bucket)
{
	unsigned shift = bucket < SUB_BUCKETS ? 0 : (bucket >> HISTOGRAM_SUB_BITS) - 1;

	return ((uint64_t)(bucket - (shift << HISTOGRAM_SUB_BITS) + 1) << shift) - 1;
}

static void add(struct histogram *sum, const struct histogram_period *p)
{
	if (p->count == 0)
		return;
	sum->count += p->count;
	sum->sum += p->sum;
	if (p->max > sum->max)
		sum->max = p->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum->buckets[i] += p->buckets[i];
}

void histogram_turn(struct histogram_history *h)
{
	if (h == NULL || (h->current.count == 0 && h->last.count == 0))
		return;
	add(&h->past, &h->current);
	h->last = h->current;
	memset(&h->current, 0, sizeof(h->current));
}

void histogram_add_recent(struct histogram *sum, const struct histogram_history *h)
{
	if (h == NULL)
		return;
	add(sum, &h->last);
	add(sum, &h->current);
}

void histogram_add_total(struct histogram *sum, const struct histogram_history *h)
{
	if (h == NULL)
		return;
	add(sum, &h->current);
	sum->count += h->past.count;
	sum->sum += h->past.sum;
	if (h->past.max > sum->max)
		sum->max = h->past.max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum->buckets[i] += h->past.buckets[i];
}

uint64_t histogram_percentile(const struct histogram *h, double share)
{
	uint64_t rank = (uint64_t)ceil(share * (double)h->count), seen = 0;
	unsigned i = 0;

	if (h->count == 0)
		return 0;
	while (i < HISTOGRAM_BUCKETS - 1 && (seen += h->buckets[i]) < rank)
		i++;
	/* The last bucket has no top of its own. */
	if (i == HISTOGRAM_BUCKETS - 1 || histogram_bucket_top(i) > h->max)
		return h->max;
	return histogram_bucket_top(i);
}

void histogram_cumulative(const struct histogram *h, uint64_t counts[HISTOGRAM_BOUND_COUNT])
{
	uint64_t below = 0;
	unsigned i = 0;

	for (unsigned b = 0; b < HISTOGRAM_BOUND_COUNT; b++) {
		for (; i < histogram_bucket(histogram_bounds[b]); i++)
			below += h->buckets[i];
		counts[b] = below;
	}
}
