#include "pool/breaker.h"

#define LOOK_EVERY_US UINT64_C(500000)

/* A server that is starting says so itself, and asking it once a second costs nobody anything. */
#define NOT_YET_MOST_US UINT64_C(1000000)

enum breaker_state breaker_state(const struct breaker *b)
{
	if (!b->is_open)
		return BREAKER_CLOSED;
	return b->is_probed ? BREAKER_HALF_OPEN : BREAKER_OPEN;
}

static bool has_failed(const struct breaker *b)
{
	return b->backoff.retry_at != 0;
}

bool breaker_allows(const struct breaker *b, const struct breaker_limits *limits, uint64_t now)
{
	if (!has_failed(b))
		return limits->attempts == 0 || b->nattempts < limits->attempts;
	if (b->nattempts > 0)
		return false;
	return now >= b->backoff.retry_at || (b->look_at != 0 && now >= b->look_at);
}

uint64_t breaker_wakes_at(const struct breaker *b)
{
	if (!has_failed(b) || b->nattempts > 0)
		return 0;
	return b->look_at != 0 && b->look_at < b->backoff.retry_at ? b->look_at : b->backoff.retry_at;
}

bool breaker_would_look(const struct breaker *b, uint64_t now)
{
	return has_failed(b) && now < b->backoff.retry_at;
}

bool breaker_begins(struct breaker *b, uint64_t now)
{
	b->nattempts++;
	b->is_probed = has_failed(b);
	return breaker_would_look(b, now);
}

bool breaker_succeeds(struct breaker *b)
{
	bool was_open = b->is_open;

	b->nattempts--;
	b->is_probed = false;
	breaker_forgets(b);
	return was_open;
}

bool breaker_fails(struct breaker *b, const struct breaker_limits *limits, enum breaker_stage stage, uint64_t now,
		   uint64_t began_at, uint32_t random)
{
	bool was_open = b->is_open;
	uint64_t most = limits->most_wait_us;

	b->nattempts--;
	b->is_probed = false;
	/* It has come a step nearer, from nobody there to somebody who is not ready: short waits again. */
	if (stage == BREAKER_NOT_YET && b->stage != BREAKER_NOT_YET)
		backoff_reset(&b->backoff);
	if (stage == BREAKER_NOT_YET && most > NOT_YET_MOST_US)
		most = NOT_YET_MOST_US;
	b->stage = stage;
	b->nfailures++;
	backoff_failed(&b->backoff, now, began_at, most, random);
	b->look_at = stage == BREAKER_CONNECT ? now + LOOK_EVERY_US : 0;
	/* Who says that he will be there soon is worth waiting for. */
	if (stage == BREAKER_NOT_YET)
		b->is_open = false;
	else if (b->nfailures >= limits->failures)
		b->is_open = true;
	return b->is_open != was_open;
}

void breaker_looks_on(struct breaker *b, uint64_t now)
{
	b->nattempts--;
	b->is_probed = false;
	b->look_at = now + LOOK_EVERY_US;
}

void breaker_skips_look(struct breaker *b, uint64_t now)
{
	if (b->nattempts == 0 && b->look_at != 0 && b->look_at <= now)
		b->look_at = now + LOOK_EVERY_US;
}

void breaker_gives_up(struct breaker *b)
{
	b->nattempts--;
	b->is_probed = false;
}

void breaker_forgets(struct breaker *b)
{
	b->is_open = false;
	b->nfailures = 0;
	b->look_at = 0;
	backoff_reset(&b->backoff);
}
