#include "chance.h"

#include <openssl/rand.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* No clock of a running program stands at nothing. */
#define BEGINNING_US UINT64_C(1000000000)

static bool is_ours;
static uint64_t now_us = BEGINNING_US;
static uint64_t state;

void chance_begin(uint64_t seed)
{
	is_ours = true;
	state = seed;
}

void chance_end(void)
{
	is_ours = false;
}

void chance_pass(uint64_t us)
{
	now_us += us;
}

/* SplitMix64 (Steele, Lea, Flood, 2014): any seed will do. */
uint64_t chance_next(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void fill(void *p, size_t n)
{
	uint8_t *to = p;

	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)chance_next();
}

static bool is_monotonic(clockid_t id)
{
	return id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW || id == CLOCK_BOOTTIME;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!is_ours || !is_monotonic(id))
		return (int)syscall(SYS_clock_gettime, id, ts);
	*ts = (struct timespec){(time_t)(now_us / 1000000), (long)(now_us % 1000000 * 1000)};
	return 0;
}

ssize_t getrandom(void *p, size_t n, unsigned flags)
{
	if (!is_ours)
		return (ssize_t)syscall(SYS_getrandom, p, n, flags);
	fill(p, n);
	return (ssize_t)n;
}

int RAND_bytes(unsigned char *p, int n)
{
	if (is_ours)
		fill(p, (size_t)n);
	else
		return RAND_priv_bytes(p, n);
	return 1;
}
