#include "pool/concurrency.h"

#include <stddef.h>

#include "base/histogram.h"

static size_t bucket_of(unsigned held)
{
	size_t bucket = histogram_bucket(held);

	return bucket < CONCURRENCY_BUCKETS ? bucket : CONCURRENCY_BUCKETS - 1;
}

/* A count of 1 is forgotten, so the number of samples has to be found anew. */
static void halve(struct concurrency *c)
{
	uint32_t before = c->nsamples;

	c->nsamples = 0;
	for (size_t i = 0; i < CONCURRENCY_BUCKETS; i++)
		c->nsamples += c->counts[i] /= 2;
	c->sum = c->sum * c->nsamples / before;
	c->nwaited = (uint32_t)((uint64_t)c->nwaited * c->nsamples / before);
}

void concurrency_note(struct concurrency *c, unsigned held, bool is_waited_for)
{
	c->counts[bucket_of(held)]++;
	c->nsamples++;
	c->nwaited += is_waited_for;
	c->sum += held;
	if (held > c->most)
		c->most = held;
	if (c->nsamples >= CONCURRENCY_WINDOW)
		halve(c);
}

unsigned concurrency_p99(const struct concurrency *c)
{
	unsigned bucket = CONCURRENCY_BUCKETS;
	uint32_t above = 0;
	uint64_t top;

	while (bucket > 0 && above <= c->nsamples / 100)
		above += c->counts[--bucket];
	top = histogram_bucket_top(bucket);
	return top < c->most ? (unsigned)top : c->most;
}

unsigned concurrency_mean(const struct concurrency *c)
{
	return c->nsamples == 0 ? 0 : (unsigned)(c->sum * 100 / c->nsamples);
}

bool concurrency_is_bounded(const struct concurrency *c)
{
	return c->nwaited > c->nsamples / 100;
}

unsigned concurrency_need(const struct concurrency *c, unsigned size)
{
	unsigned need = concurrency_p99(c);

	if (c->nsamples < CONCURRENCY_ENOUGH)
		return 0;
	if (size != 0 && concurrency_is_bounded(c) && need < size + (size + 3) / 4)
		need = size + (size + 3) / 4;
	return need > 0 ? need : 1;
}
