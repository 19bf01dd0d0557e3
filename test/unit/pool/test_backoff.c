#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/backoff.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define NOW (1000 * SECOND)
#define MOST (15 * SECOND)

static struct backoff b;

static int set_up(void **state)
{
	(void)state;
	b = (struct backoff){0};
	return 0;
}

/* An attempt that failed on the spot; returns how long nothing may be tried. */
static uint64_t fail_at(uint64_t now, uint64_t most_us, uint32_t random)
{
	backoff_failed(&b, now, now, most_us, random);
	return b.retry_at - now;
}

static void the_longest_wait_begins_at_100_ms_and_doubles_up_to_its_bound(void **state)
{
	static const uint64_t waits[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000};
	uint64_t now = NOW;

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		assert_int_equal(fail_at(now, MOST, UINT32_MAX), waits[i] * MS);
		assert_int_equal(b.rounds, i + 1);
		assert_int_equal(b.failed_at, now);
		now = b.retry_at;
	}
}

static void no_wait_is_shorter_than_10_ms(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(fail_at(NOW + i * SECOND, MOST, 0), 10 * MS);
		assert_int_equal(fail_at(NOW + i * SECOND, MOST, 1), 10 * MS);
	}
}

static void a_wait_is_any_part_of_the_longest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 7; i++)
		fail_at(NOW + i, MOST, 0);
	for (uint64_t random = 0; random <= UINT32_MAX; random += UINT32_MAX / 100) {
		struct backoff before = b;
		uint64_t wait = fail_at(NOW + SECOND, MOST, (uint32_t)random), exact = 12800 * MS * random / UINT32_MAX;

		assert_in_range(wait, exact > 10 * MS ? exact - 1 : 10 * MS, exact > 10 * MS ? exact + 1 : 10 * MS);
		b = before;
	}
}

static void a_bound_below_the_first_wait_is_that_wait(void **state)
{
	(void)state;
	assert_int_equal(fail_at(NOW, 0, UINT32_MAX), 100 * MS);
	assert_int_equal(fail_at(NOW + SECOND, 0, UINT32_MAX), 100 * MS);
	assert_int_equal(fail_at(NOW + 2 * SECOND, 99 * MS, UINT32_MAX), 100 * MS);
	assert_int_equal(fail_at(NOW + 3 * SECOND, 150 * MS, UINT32_MAX), 150 * MS);
}

static void a_bound_that_is_lowered_holds_at_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++)
		fail_at(NOW + i, MOST, 0);
	assert_int_equal(fail_at(NOW + SECOND, 3 * SECOND, UINT32_MAX), 3 * SECOND);
}

static void the_longest_bound_there_is_overflows_nothing(void **state)
{
	const uint64_t longest = UINT64_C(1) << 62;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		fail_at(NOW, longest, UINT32_MAX);
	assert_int_equal(b.retry_at - NOW, longest);
}

static void attempts_that_were_under_way_together_are_one_round(void **state)
{
	(void)state;
	backoff_failed(&b, NOW, NOW - SECOND, MOST, UINT32_MAX);
	for (unsigned i = 1; i < 20; i++)
		backoff_failed(&b, NOW + i * MS, NOW - 1, MOST, UINT32_MAX);
	assert_int_equal(b.rounds, 1);
	assert_int_equal(b.failed_at, NOW);
	assert_int_equal(b.retry_at, NOW + 100 * MS);
	/* Whoever began when it was known is another one. */
	backoff_failed(&b, NOW + SECOND, NOW, MOST, UINT32_MAX);
	assert_int_equal(b.rounds, 2);
	assert_int_equal(b.retry_at, NOW + SECOND + 200 * MS);
}

static void who_is_refused_for_good_waits_the_whole_time(void **state)
{
	(void)state;
	backoff_refused(&b, NOW, MOST);
	assert_int_equal(b.retry_at, NOW + MOST);
	backoff_refused(&b, NOW + MOST, 0);
	assert_int_equal(b.retry_at, NOW + MOST + 100 * MS);
	assert_int_equal(b.rounds, 2);
}

static void a_failure_beside_a_refusal_does_not_shorten_the_wait(void **state)
{
	(void)state;
	backoff_refused(&b, NOW, MOST);
	backoff_failed(&b, NOW + MS, NOW - MS, MOST, 0);
	assert_int_equal(b.retry_at, NOW + MOST);
}

static void after_a_reset_it_begins_anew(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		fail_at(NOW + i, MOST, UINT32_MAX);
	backoff_reset(&b);
	assert_int_equal(b.retry_at, 0);
	/* Even if that attempt began before the failures that are forgotten. */
	backoff_failed(&b, NOW + SECOND, NOW - SECOND, MOST, UINT32_MAX);
	assert_int_equal(b.rounds, 1);
	assert_int_equal(b.retry_at, NOW + SECOND + 100 * MS);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_longest_wait_begins_at_100_ms_and_doubles_up_to_its_bound),
		TEST(no_wait_is_shorter_than_10_ms),
		TEST(a_wait_is_any_part_of_the_longest),
		TEST(a_bound_below_the_first_wait_is_that_wait),
		TEST(a_bound_that_is_lowered_holds_at_once),
		TEST(the_longest_bound_there_is_overflows_nothing),
		TEST(attempts_that_were_under_way_together_are_one_round),
		TEST(who_is_refused_for_good_waits_the_whole_time),
		TEST(a_failure_beside_a_refusal_does_not_shorten_the_wait),
		TEST(after_a_reset_it_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
