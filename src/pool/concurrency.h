/*
 * How many servers of a pool clients hold at a time, from samples.
 *
 * By Little's law the mean is the rate of transactions times the mean time
 * that one holds a server; sampling in even steps gives the same mean, and
 * what the product cannot: how it is spread, so that a size can be found that
 * is enough for all but one moment in a hundred.
 *
 * They are counted in the buckets of base/histogram, of servers instead of
 * microseconds: exact up to 15, an eighth too high at most beyond. After
 * CONCURRENCY_WINDOW samples all counts are halved, so that what is long ago
 * counts less and less.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define CONCURRENCY_BUCKETS 112          /* to 65535; what is more counts as that */
#define CONCURRENCY_WINDOW 3600

/* Fewer samples say nothing. */
#define CONCURRENCY_ENOUGH 10

/* All zero: no samples. See concurrency_begin(). */
struct concurrency {
	uint16_t counts[CONCURRENCY_BUCKETS];
	uint32_t nsamples;
	uint32_t nwaited;                /* of these, while clients waited for a server */
	unsigned most;                   /* the greatest ever */
	uint64_t sum;
	uint64_t seconds;                /* of the clock, that have been counted or do not count */
};

/* There will be a sample for each second from now on. */
void concurrency_begin(struct concurrency *c, uint64_t now);

void concurrency_note(struct concurrency *c, unsigned held, bool is_waited_for);

/* The same as so many samples of a pool that is idle, one after the other, at a bounded cost. */
void concurrency_note_idle(struct concurrency *c, uint64_t n);

/* It was idle in the seconds that have not been counted. */
void concurrency_was_idle(struct concurrency *c, uint64_t now);

/* The sample of this second, if it has none yet; those before that have none do not count. */
void concurrency_sample(struct concurrency *c, uint64_t now, unsigned held, bool is_waited_for);

/* The least number that at most one sample in a hundred exceeds, by the top of its bucket; 0 without samples. */
unsigned concurrency_p99(const struct concurrency *c);

/* In hundredths. */
unsigned concurrency_mean(const struct concurrency *c);

/* Whether clients waited in more than one sample in a hundred: then the numbers are what the pool let them have. */
bool concurrency_is_bounded(const struct concurrency *c);

/*
 * The size that a pool needs by what was measured, at least 1: the p99; of a
 * pool for which clients waited, a quarter more than the size it has now (0: no
 * bound), since nobody can tell what they would have held. 0: not known yet.
 */
unsigned concurrency_need(const struct concurrency *c, unsigned size);
