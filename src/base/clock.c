#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

uint64_t clock_of_turn;

static int64_t wall_ahead;      /* of the monotonic clock; known with is_wall_known */
static bool is_wall_known;

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_SECOND + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_read(void)
{
	clock_of_turn = read_clock(CLOCK_MONOTONIC);
	return clock_of_turn;
}

void clock_turn(void)
{
	clock_of_turn = 0;
	is_wall_known = false;
}

int64_t clock_wall_us(void)
{
	return (int64_t)read_clock(CLOCK_REALTIME);
}

int64_t clock_wall_of(uint64_t monotonic_us)
{
	if (!is_wall_known) {
		wall_ahead = clock_wall_us() - (int64_t)read_clock(CLOCK_MONOTONIC);
		is_wall_known = true;
	}
	return (int64_t)monotonic_us + wall_ahead;
}
