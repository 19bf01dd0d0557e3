/*
 * Random steps that can be taken again: the seed is printed, and TEST_SEED in
 * the environment sets it.
 */
#pragma once
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"

static uint64_t random_state;

static inline void random_start(void)
{
	const char *given = getenv("TEST_SEED");

	if (given == NULL)
		sys_random(&random_state, sizeof(random_state));
	else
		random_state = strtoull(given, NULL, 10);
	printf("TEST_SEED=%" PRIu64 "\n", random_state);
}

/* SplitMix64 (Steele, Lea, Flood, 2014): any seed will do. */
static inline uint64_t random_next(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline unsigned random_below(unsigned n)
{
	return (unsigned)(random_next() % n);
}
