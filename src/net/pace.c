#include "net/pace.h"

void pace_init(struct pace *p)
{
	*p = (struct pace){.read_size = PACE_READ_SIZE};
}

/* Longer while pieces stay small, shorter when they are so large that their senders may have been held up. */
static unsigned next_interval(const struct pace *p)
{
	size_t piece = p->streamed / p->nstreams;
	size_t small = p->read_size / 2, large = p->read_size / 8 * 5;

	if (p->interval == 0)
		return piece < PACE_READ_SIZE / 2 ? PACE_INTERVAL_STEP : 0;
	if (piece < small && p->interval < PACE_INTERVAL_MAX)
		return p->interval + PACE_INTERVAL_STEP;
	if (piece > large)
		return p->interval - PACE_INTERVAL_STEP;
	return p->interval;
}

/* Streams share what one of them may bring, so that a turn does not become longer for whoever comes in between. */
static size_t next_read_size(const struct pace *p)
{
	size_t share = PACE_READ_MAX / p->nstreams;

	return share < PACE_READ_SIZE ? PACE_READ_SIZE : share;
}

void pace_next_turn(struct pace *p)
{
	if (p->nother > 0) {
		p->interval = 0;
		p->read_size = PACE_READ_SIZE;
	} else if (p->nstreams > 0) {
		p->interval = p->nflowing > 0 ? 0 : next_interval(p);
		p->read_size = next_read_size(p);
	} else {
		/* Timers, or a stream whose reader has been slow: there is nothing to collect, and reads go on as they were. */
		p->interval = 0;
	}
	p->nstreams = p->nother = p->nflowing = 0;
	p->streamed = 0;
}
