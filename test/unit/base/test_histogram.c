#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "base/histogram.h"

#include "../random.h"

static struct histogram_history history, other;
static struct histogram recent;

static int clear(void **state)
{
	(void)state;
	history = other = (struct histogram_history){0};
	recent = (struct histogram){0};
	return 0;
}

static const struct histogram *read_recent(void)
{
	recent = (struct histogram){0};
	histogram_add_recent(&recent, &history);
	return &recent;
}

static struct histogram read_total(void)
{
	struct histogram total = {0};

	histogram_add_total(&total, &history);
	return total;
}

static void buckets_follow_each_other_without_gap(void **state)
{
	uint64_t below = 0;

	(void)state;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		assert_int_equal(histogram_bucket(below), i);
		assert_int_equal(histogram_bucket(histogram_bucket_top(i)), i);
		below = histogram_bucket_top(i) + 1;
	}
	assert_int_equal(below, UINT64_C(1) << HISTOGRAM_MAX_BITS);
	assert_int_equal(histogram_bucket(below), HISTOGRAM_BUCKETS - 1);
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void a_bucket_is_at_most_an_eighth_wide(void **state)
{
	(void)state;
	for (unsigned i = 1; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t first = histogram_bucket_top(i - 1) + 1;

		assert_true((histogram_bucket_top(i) - first) * 8 <= first);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

#define MANY 20000

/* Against the sorted values themselves. */
static void assert_percentiles(uint64_t *values)
{
	static const double shares[] = {0.001, 0.01, 0.5, 0.9, 0.99, 0.999, 1};

	for (size_t i = 0; i < MANY; i++)
		histogram_record(&history, values[i]);
	read_recent();
	qsort(values, MANY, sizeof(values[0]), compare);
	assert_int_equal(recent.count, MANY);
	assert_int_equal(recent.max, values[MANY - 1]);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		uint64_t exact = values[(size_t)(shares[i] * MANY + 0.5) - 1];
		uint64_t told = histogram_percentile(&recent, shares[i]);

		assert_true(told >= exact);
		assert_true((double)told <= (double)exact * 1.125);
	}
}

static void percentiles_of_evenly_spread_times_are_an_eighth_off_at_most(void **state)
{
	uint64_t *values = malloc(MANY * sizeof(values[0]));

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		values[i] = random_next() % 1000000;
	assert_percentiles(values);
	free(values);
}

static void percentiles_of_times_of_all_magnitudes_are_an_eighth_off_at_most(void **state)
{
	uint64_t *values = malloc(MANY * sizeof(values[0]));

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		values[i] = random_next() % (UINT64_C(1) << (random_next() % HISTOGRAM_MAX_BITS + 1));
	assert_percentiles(values);
	free(values);
}

static void a_single_time_is_every_percentile(void **state)
{
	(void)state;
	histogram_record(&history, 1000);
	assert_int_equal(histogram_percentile(read_recent(), 0.001), 1000);
	assert_int_equal(histogram_percentile(read_recent(), 0.5), 1000);
	assert_int_equal(histogram_percentile(read_recent(), 1), 1000);
}

static void nothing_recorded_has_no_percentiles(void **state)
{
	(void)state;
	assert_int_equal(histogram_percentile(read_recent(), 0.5), 0);
}

static void what_takes_longer_than_there_are_buckets_is_told_by_the_longest(void **state)
{
	uint64_t days = UINT64_C(500000000000);

	(void)state;
	histogram_record(&history, days);
	assert_int_equal(read_recent()->max, days);
	assert_int_equal(histogram_percentile(&recent, 0.5), days);
}

static void a_reader_sees_this_period_and_the_last(void **state)
{
	(void)state;
	histogram_record(&history, 10);
	histogram_turn(&history);
	histogram_record(&history, 20);
	assert_int_equal(read_recent()->count, 2);
	assert_int_equal(recent.sum, 30);
	histogram_turn(&history);
	assert_int_equal(read_recent()->count, 1);
	assert_int_equal(recent.max, 20);
	histogram_turn(&history);
	assert_int_equal(read_recent()->count, 0);
}

static void the_total_forgets_nothing(void **state)
{
	struct histogram total;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++) {
		histogram_record(&history, i);
		total = read_total();
		assert_int_equal(total.count, i);
		assert_int_equal(total.sum, i * (i + 1) / 2);
		assert_int_equal(total.max, i);
		if (i % 7 == 0)
			histogram_turn(&history);
		if (i % 21 == 0)
			histogram_turn(&history);
	}
	assert_int_equal(histogram_percentile(&total, 0.5), 51);
}

static void a_full_period_is_turned_early_and_nothing_is_lost(void **state)
{
	(void)state;
	history.current.count = history.current.buckets[3] = UINT32_MAX;
	histogram_record(&history, 3);
	assert_int_equal(read_total().count, UINT64_C(1) << 32);
	assert_int_equal(read_total().buckets[3], UINT64_C(1) << 32);
}

static void histograms_of_several_pools_are_summed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 99; i++)
		histogram_record(&history, 100);
	histogram_record(&other, 5000);
	histogram_turn(&other);
	read_recent();
	histogram_add_recent(&recent, &other);
	assert_int_equal(recent.count, 100);
	assert_int_equal(recent.sum, 99 * 100 + 5000);
	assert_int_equal(recent.max, 5000);
	assert_int_equal(histogram_percentile(&recent, 0.99), 103);
	assert_int_equal(histogram_percentile(&recent, 0.999), 5000);
}

static void monitors_count_below_bounds_at_which_buckets_begin(void **state)
{
	uint64_t counts[HISTOGRAM_BOUND_COUNT];
	struct histogram total;

	(void)state;
	for (unsigned b = 0; b < HISTOGRAM_BOUND_COUNT; b++) {
		assert_true(b == 0 || histogram_bounds[b] > histogram_bounds[b - 1]);
		histogram_record(&history, histogram_bounds[b] - 1);
		histogram_record(&history, histogram_bounds[b]);
	}
	total = read_total();
	histogram_cumulative(&total, counts);
	for (unsigned b = 0; b < HISTOGRAM_BOUND_COUNT; b++)
		assert_int_equal(counts[b], 2 * b + 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, clear)
	const struct CMUnitTest tests[] = {
		CASE(buckets_follow_each_other_without_gap),
		CASE(a_bucket_is_at_most_an_eighth_wide),
		CASE(percentiles_of_evenly_spread_times_are_an_eighth_off_at_most),
		CASE(percentiles_of_times_of_all_magnitudes_are_an_eighth_off_at_most),
		CASE(a_single_time_is_every_percentile),
		CASE(nothing_recorded_has_no_percentiles),
		CASE(what_takes_longer_than_there_are_buckets_is_told_by_the_longest),
		CASE(a_reader_sees_this_period_and_the_last),
		CASE(the_total_forgets_nothing),
		CASE(a_full_period_is_turned_early_and_nothing_is_lost),
		CASE(histograms_of_several_pools_are_summed),
		CASE(monitors_count_below_bounds_at_which_buckets_begin),
	};

	random_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
