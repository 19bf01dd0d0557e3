#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/histogram.h"
#include "report/metrics.h"

static bool has_column(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return true;
	return false;
}

/* Whoever writes them relies on it. */
static void every_column_that_is_named_is_in_its_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < metric_source_count; i++) {
		const struct metric_source *s = &metric_sources[i];

		for (size_t k = 0; k < s->nlabels; k++)
			assert_true(has_column(s->table, s->labels[k].name));
		for (size_t k = 0; k < s->nmetrics && s->key == NULL; k++)
			assert_true(s->metrics[k].column == NULL || has_column(s->table, s->metrics[k].column));
		assert_true(s->key == NULL || (has_column(s->table, s->key) && has_column(s->table, s->value)));
	}
}

static void histograms_have_their_bounds_behind_their_sum(void **state)
{
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < metric_source_count; i++) {
		const struct metric_source *s = &metric_sources[i];
		size_t sum = 0;

		for (size_t k = 0; k < s->nmetrics; k++)
			assert_int_equal(s->metrics[k].type == METRIC_HISTOGRAM, s->sum != NULL);
		if (s->sum == NULL)
			continue;
		n++;
		while (strcmp(s->table->columns[sum].name, s->sum) != 0)
			assert_in_range(++sum, 1, s->table->ncolumns - 1);
		assert_int_equal(s->table->ncolumns, sum + 1 + HISTOGRAM_BOUND_COUNT);
	}
	assert_int_equal(n, 1);
}

static void metrics_fit_where_they_are_gathered(void **state)
{
	(void)state;
	for (size_t i = 0; i < metric_source_count; i++) {
		assert_in_range(metric_sources[i].nlabels, 0, METRIC_LABELS_MAX);
		assert_in_range(metric_sources[i].nmetrics, 1, METRIC_OF_SOURCE_MAX);
	}
}

static void assert_is_once(const char *name)
{
	unsigned n = 0;

	for (size_t i = 0; i < metric_source_count; i++)
		for (size_t k = 0; k < metric_sources[i].nmetrics; k++)
			n += strcmp(metric_sources[i].metrics[k].name, name) == 0;
	assert_int_equal(n, 1);
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static void names_are_unique_and_only_counters_end_in_total(void **state)
{
	(void)state;
	for (size_t i = 0; i < metric_source_count; i++) {
		for (size_t k = 0; k < metric_sources[i].nmetrics; k++) {
			const struct metric *m = &metric_sources[i].metrics[k];

			assert_is_once(m->name);
			assert_int_equal(ends_with(m->name, "_total"), m->type == METRIC_COUNTER);
			assert_int_equal(m->words[0] != NULL, m->reading == READ_WORD);
			if (m->reading == READ_MICROSECONDS)
				assert_non_null(strstr(m->name, "_seconds"));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_column_that_is_named_is_in_its_table),
		cmocka_unit_test(histograms_have_their_bounds_behind_their_sum),
		cmocka_unit_test(metrics_fit_where_they_are_gathered),
		cmocka_unit_test(names_are_unique_and_only_counters_end_in_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
