/*
 * Time and chance as an input has them: a clock that stands still unless it is
 * told to go on, and random numbers that follow from a seed. What a fuzzer
 * has found happens again, and an hour of timeouts takes no time.
 *
 * Linked into a program this stands in the place of clock_gettime() for the
 * monotonic clocks, of getrandom() and RAND_bytes().
 */
#pragma once
#include <stdint.h>

/* From now on. The clock goes on from where it last stood. */
void chance_begin(uint64_t seed);

/* The real ones again. */
void chance_end(void);

/* Only between the two. */
void chance_pass(uint64_t us);

/* A random number of the same stream that the code under test draws from. */
uint64_t chance_next(void);
