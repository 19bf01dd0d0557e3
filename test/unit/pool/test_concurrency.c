#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/concurrency.h"

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
