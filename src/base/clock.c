#include "base/clock.h"

#include <time.h>

static uint64_t cached;

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_SECOND + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_us(void)
{
	if (cached == 0)
		cached = read_clock(CLOCK_MONOTONIC);
	return cached;
}

void clock_turn(void)
{
	cached = 0;
}

int64_t clock_wall_us(void)
{
	return (int64_t)read_clock(CLOCK_REALTIME);
}

int64_t clock_wall_of(uint64_t monotonic_us)
{
	return clock_wall_us() - (int64_t)(read_clock(CLOCK_MONOTONIC) - monotonic_us);
}
