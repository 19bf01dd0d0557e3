/*
 * Log-linear histograms of times, in a fixed room: up to 8 microseconds each
 * has a bucket of its own, above that each power of two is cut into 8 of equal
 * width. So a percentile is told at most 12.5 % too high, and never too low,
 * from a microsecond to 19 hours; what takes longer counts as that.
 *
 * Recording is a few instructions and touches no memory but the histogram.
 */
#pragma once
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 3
#define HISTOGRAM_MAX_BITS 36
#define HISTOGRAM_BUCKETS ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

/* What a reader gets, and what is summed. */
struct histogram {
	uint64_t count, sum, max;        /* sum and max: microseconds */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* What is recorded into. */
struct histogram_period {
	uint64_t sum, max;
	uint32_t count;
	uint32_t buckets[HISTOGRAM_BUCKETS];
};

/* All zero, or none at all (NULL) where it is read: nothing has been recorded. */
struct histogram_history {
	struct histogram_period current, last;
	struct histogram past;           /* before `current` */
};

/* The bucket of a time, and the longest time that is in it. */
static inline unsigned histogram_bucket(uint64_t us)
{
	unsigned shift;

	if (us >> HISTOGRAM_SUB_BITS == 0)
		return (unsigned)us;
	if (us >> HISTOGRAM_MAX_BITS != 0)
		return HISTOGRAM_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(us) - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(us >> shift);
}

uint64_t histogram_bucket_top(unsigned bucket);

/* A period has ended. */
__attribute__((cold))
void histogram_turn(struct histogram_history *h);

static inline void histogram_record(struct histogram_history *h, uint64_t us)
{
	struct histogram_period *p = &h->current;

	if (p->count == UINT32_MAX)
		histogram_turn(h);
	p->count++;
	p->sum += us;
	if (us > p->max)
		p->max = us;
	p->buckets[histogram_bucket(us)]++;
}

/* Adds what was recorded in this period and the last; or ever. */
void histogram_add_recent(struct histogram *sum, const struct histogram_history *h);
void histogram_add_total(struct histogram *sum, const struct histogram_history *h);

/*
 * The time that this share (of 1) of all took at most, by the top of the
 * bucket it falls into, never more than the longest; 0 when nothing was recorded.
 */
uint64_t histogram_percentile(const struct histogram *h, double share);

/*
 * The bounds in microseconds under which monitors count (`le` of a Prometheus histogram): powers of two, because
 * there a bucket begins, as near as may be to 1 and 5 of each power of ten.
 */
#define HISTOGRAM_BOUNDS(X) \
	X(7)  /* 0.000128 s */ \
	X(9)  /* 0.000512 s */ \
	X(10) /* 0.001024 s */ \
	X(12) /* 0.004096 s */ \
	X(13) /* 0.008192 s */ \
	X(16) /* 0.065536 s */ \
	X(17) /* 0.131072 s */ \
	X(19) /* 0.524288 s */ \
	X(20) /* 1.048576 s */ \
	X(22) /* 4.194304 s */ \
	X(23) /* 8.388608 s */ \
	X(26) /* 67.108864 s */

#define X(bits) +1
enum { HISTOGRAM_BOUND_COUNT = 0 HISTOGRAM_BOUNDS(X) };
#undef X

extern const uint64_t histogram_bounds[HISTOGRAM_BOUND_COUNT];

/*
 * How many took less than each bound. Times are whole microseconds, rounded
 * down: who took less than 128 of them is who took "at most" 0.000128 s.
 */
void histogram_cumulative(const struct histogram *h, uint64_t counts[HISTOGRAM_BOUND_COUNT]);
