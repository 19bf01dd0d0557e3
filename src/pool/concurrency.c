#include "pool/concurrency.h"

#include <stddef.h>

#include "base/clock.h"
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

void concurrency_begin(struct concurrency *c, uint64_t now)
{
	*c = (struct concurrency){.seconds = now / CLOCK_SECOND};
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

/*
 * Halved so often, whatever was counted before is 0. From then on half a window of idle samples leaves everything as it
 * was.
 */
#define FORGOTTEN (64 * (uint64_t)CONCURRENCY_WINDOW)

void concurrency_note_idle(struct concurrency *c, uint64_t n)
{
	if (n > FORGOTTEN)
		n = FORGOTTEN + (n - FORGOTTEN) % (CONCURRENCY_WINDOW / 2);
	while (n > 0) {
		uint32_t room = CONCURRENCY_WINDOW - c->nsamples, step = n < room ? (uint32_t)n : room;

		c->counts[0] = (uint16_t)(c->counts[0] + step);
		c->nsamples += step;
		n -= step;
		if (c->nsamples >= CONCURRENCY_WINDOW)
			halve(c);
	}
}

void concurrency_was_idle(struct concurrency *c, uint64_t now)
{
	concurrency_note_idle(c, now / CLOCK_SECOND - c->seconds);
	c->seconds = now / CLOCK_SECOND;
}

void concurrency_sample(struct concurrency *c, uint64_t now, unsigned held, bool is_waited_for)
{
	if (c->seconds == now / CLOCK_SECOND)
		return;
	c->seconds = now / CLOCK_SECOND;
	concurrency_note(c, held, is_waited_for);
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
