#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/stats.h"

#define SECOND UINT64_C(1000000)

static void every_counter_is_summed(void **state)
{
	struct stats sum = {0}, one = {0};
	uint64_t *fields = (uint64_t *)&one;

	(void)state;
	assert_int_equal(sizeof(one), STATS_COUNT * sizeof(uint64_t));
	for (uint64_t i = 0; i < STATS_COUNT; i++)
		fields[i] = i + 1;
	stats_add(&sum, &one);
	stats_add(&sum, &one);
	for (uint64_t i = 0; i < STATS_COUNT; i++)
		assert_int_equal(((uint64_t *)&sum)[i], 2 * (i + 1));
}

static void counters_come_in_the_order_of_the_table(void **state)
{
	struct stats s = {0};

	(void)state;
	s.server_assignment_count = 1;
	s.bind_count = 11;
	assert_int_equal(((uint64_t *)&s)[0], 1);
	assert_int_equal(((uint64_t *)&s)[10], 11);
	assert_int_equal(STATS_COUNT, 16);
}

static void a_turn_keeps_the_counters_of_the_last_two_periods(void **state)
{
	struct stats_history h = {0};

	(void)state;
	h.now.xact_count = 5;
	stats_turn(&h);
	h.now.xact_count = 12;
	stats_turn(&h);
	h.now.xact_count = 13;
	assert_int_equal(h.now.xact_count, 13);
	assert_int_equal(h.last.xact_count, 12);
	assert_int_equal(h.before_last.xact_count, 5);
}

static void counts_and_bytes_are_averaged_per_second(void **state)
{
	struct stats from = {0}, to = {0}, average;

	(void)state;
	from.xact_count = 100;
	to.xact_count = 700;
	to.query_count = 59;
	to.bytes_received = UINT64_C(60) << 32;
	to.bind_count = 600;
	stats_average(&from, &to, 60 * SECOND, &average);
	assert_int_equal(average.xact_count, 10);
	assert_int_equal(average.query_count, 0);
	assert_true(average.bytes_received == UINT64_C(1) << 32);
	assert_int_equal(average.bytes_sent, 0);
	assert_int_equal(average.bind_count, 10);
}

static void times_are_averaged_over_what_took_them(void **state)
{
	struct stats from = {0}, to = {0}, average;

	(void)state;
	from.query_count = 10;
	from.query_time = 5000;
	to.query_count = 14;
	to.query_time = 9000;
	to.xact_count = 2;
	to.xact_time = 3000;
	to.server_assignment_count = 3;
	to.wait_time = 100;
	stats_average(&from, &to, 60 * SECOND, &average);
	assert_int_equal(average.query_time, 1000);
	assert_int_equal(average.xact_time, 1500);
	assert_int_equal(average.wait_time, 33);
}

static void a_period_without_anything_averages_to_zero(void **state)
{
	struct stats same = {0}, average;

	(void)state;
	same.query_time = 77;
	same.wait_time = 77;
	stats_average(&same, &same, 60 * SECOND, &average);
	for (int i = 0; i < STATS_COUNT; i++)
		assert_int_equal(((uint64_t *)&average)[i], 0);
	stats_average(&same, &same, 0, &average);
	assert_int_equal(average.query_time, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_counter_is_summed),
		cmocka_unit_test(counters_come_in_the_order_of_the_table),
		cmocka_unit_test(a_turn_keeps_the_counters_of_the_last_two_periods),
		cmocka_unit_test(counts_and_bytes_are_averaged_per_second),
		cmocka_unit_test(times_are_averaged_over_what_took_them),
		cmocka_unit_test(a_period_without_anything_averages_to_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
