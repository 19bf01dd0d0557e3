#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static void time_stands_still_within_a_turn(void **state)
{
	uint64_t now;

	(void)state;
	clock_turn();
	now = clock_us();
	usleep(2000);
	assert_true(clock_us() == now);
}

static void the_next_turn_reads_the_clock_anew(void **state)
{
	uint64_t now;

	(void)state;
	clock_turn();
	now = clock_us();
	usleep(2000);
	clock_turn();
	assert_true(clock_us() >= now + 2000);
}

static void it_is_the_monotonic_clock_in_microseconds(void **state)
{
	struct timespec ts;
	uint64_t before;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	before = (uint64_t)ts.tv_sec * CLOCK_SECOND + (uint64_t)ts.tv_nsec / 1000;
	clock_turn();
	assert_in_range(clock_us(), before, before + 60 * CLOCK_SECOND);
}

static void the_wall_clock_counts_from_1970(void **state)
{
	int64_t now = (int64_t)time(NULL) * 1000000;

	(void)state;
	assert_in_range(clock_wall_us(), now - 1000000, now + 60000000);
}

static void a_past_moment_has_its_wall_clock_time(void **state)
{
	int64_t now;

	(void)state;
	clock_turn();
	now = clock_wall_us();
	/* The two readings differ by what passes between them. */
	assert_in_range(clock_wall_of(clock_us()), now - 5000000, now + 5000000);
	assert_int_equal((clock_wall_of(clock_us() - 60 * CLOCK_SECOND) - now + 65000000) / 10000000, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_stands_still_within_a_turn),
		cmocka_unit_test(the_next_turn_reads_the_clock_anew),
		cmocka_unit_test(it_is_the_monotonic_clock_in_microseconds),
		cmocka_unit_test(the_wall_clock_counts_from_1970),
		cmocka_unit_test(a_past_moment_has_its_wall_clock_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
