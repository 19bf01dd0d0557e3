#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "pool/concurrency.h"

#define SECOND UINT64_C(1000000)

static struct concurrency c;

static int set_up(void **state)
{
	(void)state;
	c = (struct concurrency){0};
	return 0;
}

static void note(unsigned n, unsigned held)
{
	while (n-- > 0)
		concurrency_note(&c, held, false);
}

static void without_samples_nothing_is_known(void **state)
{
	(void)state;
	assert_int_equal(concurrency_p99(&c), 0);
	assert_int_equal(concurrency_mean(&c), 0);
	assert_int_equal(concurrency_need(&c, 20), 0);
	note(CONCURRENCY_ENOUGH - 1, 5);
	assert_int_equal(concurrency_need(&c, 20), 0);
	note(1, 5);
	assert_int_equal(concurrency_need(&c, 20), 5);
}

static void the_mean_has_two_decimals(void **state)
{
	(void)state;
	note(3, 1);
	note(1, 2);
	assert_int_equal(concurrency_mean(&c), 125);
}

static void one_sample_in_a_hundred_may_be_above_it(void **state)
{
	(void)state;
	note(99, 4);
	note(1, 11);
	assert_int_equal(concurrency_p99(&c), 4);
	note(1, 11);
	assert_int_equal(concurrency_p99(&c), 11);
}

static void beyond_16_it_is_an_eighth_too_high_at_most(void **state)
{
	(void)state;
	for (unsigned held = 1; held < 70000; held += held / 16 + 1) {
		c = (struct concurrency){0};
		note(98, held);
		note(2, 100000);
		note(100, 100000);
		note(19900, held);
		assert_in_range(concurrency_p99(&c), held < 65535 ? held : 65535, held + held / 8);
	}
}

static void it_is_never_more_than_was_held(void **state)
{
	(void)state;
	note(100, 100);
	assert_int_equal(concurrency_p99(&c), 100);
}

static void an_idle_pool_needs_one(void **state)
{
	(void)state;
	note(100, 0);
	assert_int_equal(concurrency_need(&c, 20), 1);
}

static void a_pool_that_clients_wait_for_needs_a_quarter_more_than_it_has(void **state)
{
	(void)state;
	note(98, 20);
	concurrency_note(&c, 20, true);
	concurrency_note(&c, 20, true);
	assert_true(concurrency_is_bounded(&c));
	assert_int_equal(concurrency_need(&c, 20), 25);
	assert_int_equal(concurrency_need(&c, 0), 20);
	assert_int_equal(concurrency_need(&c, 1), 20);
}

static void a_wait_in_a_hundred_is_no_bound(void **state)
{
	(void)state;
	note(99, 3);
	concurrency_note(&c, 20, true);
	assert_false(concurrency_is_bounded(&c));
	assert_int_equal(concurrency_need(&c, 20), 3);
}

static void what_is_long_ago_is_forgotten(void **state)
{
	(void)state;
	note(CONCURRENCY_WINDOW - 1, 50);
	note(8 * CONCURRENCY_WINDOW, 2);
	assert_int_equal(concurrency_p99(&c), 2);
	assert_in_range(concurrency_mean(&c), 200, 299);
	assert_in_range(c.nsamples, CONCURRENCY_WINDOW / 2 - CONCURRENCY_BUCKETS, CONCURRENCY_WINDOW - 1);
}

/* A pool with a past: of all sizes, some waited for. */
static void have_past(uint64_t seed)
{
	c = (struct concurrency){0};
	for (unsigned n = (unsigned)(seed % 4000); n > 0; n--) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		concurrency_note(&c, (unsigned)(seed >> 60) == 0 ? 4000000000u : (unsigned)(seed >> 58), seed >> 63 != 0);
	}
}

static void many_idle_samples_at_once_are_the_same_as_one_by_one(void **state)
{
	static const uint64_t numbers[] = {0, 1, 7, 1799, 1800, 1801, 3600, 5401, 40000,
					   64 * CONCURRENCY_WINDOW, 64 * CONCURRENCY_WINDOW + 1, 500001};

	(void)state;
	for (uint64_t past = 0; past < 12; past++) {
		for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
			struct concurrency one_by_one;

			have_past(past * 997);
			one_by_one = c;
			for (uint64_t n = 0; n < numbers[i]; n++)
				concurrency_note(&one_by_one, 0, false);
			concurrency_note_idle(&c, numbers[i]);
			assert_memory_equal(&c, &one_by_one, sizeof(c));
		}
	}
}

static void a_century_of_idle_samples_costs_no_more_than_a_week(void **state)
{
	struct concurrency week;

	(void)state;
	note(10, 3);
	week = c;
	concurrency_note_idle(&week, 7 * 24 * 3600);
	concurrency_note_idle(&c, UINT64_C(100) * 366 * 24 * 3600);
	/* Both are multiples of half a window. */
	assert_memory_equal(&c, &week, sizeof(c));
}

static void a_second_has_one_sample_and_idle_ones_are_made_up_for(void **state)
{
	(void)state;
	concurrency_begin(&c, 5 * SECOND + 1);
	concurrency_sample(&c, 5 * SECOND + 2, 9, false);
	assert_int_equal(c.nsamples, 0);
	concurrency_sample(&c, 6 * SECOND, 2, false);
	concurrency_sample(&c, 6 * SECOND + 1, 9, false);
	assert_int_equal(c.nsamples, 1);
	assert_int_equal(c.sum, 2);
	concurrency_was_idle(&c, 9 * SECOND + 5);
	concurrency_was_idle(&c, 9 * SECOND + 6);
	assert_int_equal(c.nsamples, 4);
	assert_int_equal(c.sum, 2);
}

static void seconds_in_which_nobody_could_look_do_not_count(void **state)
{
	(void)state;
	concurrency_begin(&c, 5 * SECOND);
	concurrency_sample(&c, 6 * SECOND, 2, false);
	concurrency_sample(&c, 60 * SECOND, 2, false);
	assert_int_equal(c.nsamples, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		TEST(without_samples_nothing_is_known),
		TEST(the_mean_has_two_decimals),
		TEST(one_sample_in_a_hundred_may_be_above_it),
		TEST(beyond_16_it_is_an_eighth_too_high_at_most),
		TEST(it_is_never_more_than_was_held),
		TEST(an_idle_pool_needs_one),
		TEST(a_pool_that_clients_wait_for_needs_a_quarter_more_than_it_has),
		TEST(a_wait_in_a_hundred_is_no_bound),
		TEST(what_is_long_ago_is_forgotten),
		TEST(many_idle_samples_at_once_are_the_same_as_one_by_one),
		TEST(a_century_of_idle_samples_costs_no_more_than_a_week),
		TEST(a_second_has_one_sample_and_idle_ones_are_made_up_for),
		TEST(seconds_in_which_nobody_could_look_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
