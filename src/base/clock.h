/*
 * Time. The monotonic clock is read at most once between two clock_turn()
 * calls, which the loop makes when it wakes up: all work of one turn happens
 * "at the same time", and a query costs no clock read of its own.
 */
#pragma once
#include <stdint.h>

/* What was read in this loop turn; 0: nothing yet. clock_us() and clock_turn() alone look at it. */
extern uint64_t clock_of_turn;

uint64_t clock_read(void);

/* Microseconds of the monotonic clock, as of this loop turn. */
static inline uint64_t clock_us(void)
{
	return clock_of_turn != 0 ? clock_of_turn : clock_read();
}

/* The next call reads the clocks anew. */
void clock_turn(void);

/* Microseconds since 1970 of the wall clock, read now. */
int64_t clock_wall_us(void);

/* The wall clock time of a point of the monotonic clock, as both stood at the first such question of this loop turn. */
int64_t clock_wall_of(uint64_t monotonic_us);

#define CLOCK_SECOND UINT64_C(1000000)
