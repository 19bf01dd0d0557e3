/*
 * How long to leave alone what has just failed: 100 ms, then twice as long
 * each time up to a bound, and of that a random part ("full jitter"), so that
 * those who failed together do not come back together.
 */
#pragma once
#include <stdint.h>

/* All zero: nothing has failed. */
struct backoff {
	unsigned rounds;                 /* of failures in a row */
	uint64_t failed_at;              /* when the last round ended; 0 never */
	uint64_t retry_at;               /* no attempt before this; 0 none */
};

/* The bound is never less than this: what fails on the spot would be tried again without an end. */
#define BACKOFF_FIRST_US UINT64_C(100000)

/* No wait is shorter, however the dice fall. */
#define BACKOFF_LEAST_US UINT64_C(10000)

/*
 * An attempt that began at `began_at` has failed. Those that were under way
 * together are one round: the wait grows once. `random` is any 32 bits.
 */
void backoff_failed(struct backoff *b, uint64_t now, uint64_t began_at, uint64_t most_us, uint32_t random);

/* An attempt was refused for good: the next one comes after the whole time. */
void backoff_refused(struct backoff *b, uint64_t now, uint64_t wait_us);

void backoff_reset(struct backoff *b);
