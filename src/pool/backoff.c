#include "pool/backoff.h"

static uint64_t span_of_round(unsigned round, uint64_t most_us)
{
	uint64_t span = BACKOFF_FIRST_US;

	for (unsigned i = 1; i < round && span < most_us; i++)
		span *= 2;
	if (span > most_us)
		span = most_us;
	return span < BACKOFF_FIRST_US ? BACKOFF_FIRST_US : span;
}

void backoff_failed(struct backoff *b, uint64_t now, uint64_t began_at, uint64_t most_us, uint32_t random)
{
	uint64_t wait;

	if (b->failed_at != 0 && began_at < b->failed_at)
		return;
	b->rounds++;
	b->failed_at = now;
	wait = (uint64_t)((double)span_of_round(b->rounds, most_us) * ((double)random / UINT32_MAX));
	b->retry_at = now + (wait < BACKOFF_LEAST_US ? BACKOFF_LEAST_US : wait);
}

void backoff_refused(struct backoff *b, uint64_t now, uint64_t wait_us)
{
	b->rounds++;
	b->failed_at = now;
	b->retry_at = now + (wait_us < BACKOFF_FIRST_US ? BACKOFF_FIRST_US : wait_us);
}

void backoff_reset(struct backoff *b)
{
	*b = (struct backoff){0};
}
