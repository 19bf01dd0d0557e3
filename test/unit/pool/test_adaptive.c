#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../bench/adaptive/model.h"

#define TICKS_PER_SECOND (1000000 / ADAPTIVE_TICK_US)
#define LEAST 1
#define MOST 100
#define SEEDS 3

static struct model m;
static struct adaptive a;

/* A server that is at its best with so many transactions, and so many clients. */
static void begin(uint64_t seed, unsigned cores, unsigned nclients)
{
	model_init(&m, LEAST, seed);
	a = (struct adaptive){0};
	m.cores = cores;
	m.nclients = nclients;
}

struct swing {
	unsigned least, most;
	double sum;
	unsigned n;
};

static struct swing run(unsigned seconds)
{
	struct swing s = {.least = UINT32_MAX};

	for (unsigned i = 0; i < seconds * TICKS_PER_SECOND; i++) {
		model_tick(&m, &a, LEAST, MOST);
		s.least = m.limit < s.least ? m.limit : s.least;
		s.most = m.limit > s.most ? m.limit : s.most;
		s.sum += m.limit;
		s.n++;
	}
	return s;
}

/* All that it does lies within a fifth of its mean; small numbers may differ by one. */
static void assert_steady(struct swing s)
{
	double mean = s.sum / s.n, most = mean * 0.2 > 1 ? mean * 0.2 : 1;

	if (s.most - s.least > most)
		fail_msg("from %u to %u, mean %.1f", s.least, s.most, mean);
}

static void under_steady_load_it_swings_by_a_fifth_at_most(void **state)
{
	static const unsigned clients[] = {4, 60, 120, 300};

	(void)state;
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
		for (unsigned seed = 1; seed <= SEEDS; seed++) {
			begin(seed, 20, clients[i]);
			run(60);
			assert_steady(run(120));
		}
}

static void a_saturated_server_gets_about_what_it_works_best_with(void **state)
{
	static const unsigned cores[] = {4, 10, 20, 40};

	(void)state;
	for (size_t i = 0; i < sizeof(cores) / sizeof(cores[0]); i++) {
		begin(1, cores[i], 300);
		run(30);
		assert_in_range(m.limit, cores[i], cores[i] + cores[i] / 2);
	}
}

static void what_it_answers_is_nearly_what_the_best_fixed_size_does(void **state)
{
	uint64_t answers;

	(void)state;
	begin(1, 20, 120);
	run(60);
	answers = m.nanswers;
	begin(1, 20, 120);
	m.limit = 20;
	for (unsigned i = 0; i < 60 * TICKS_PER_SECOND; i++)
		model_tick(&m, NULL, 0, 0);
	assert_true(answers > m.nanswers * 9 / 10);
}

/* How many seconds, in ticks, until it has got there. */
static unsigned ticks_until(unsigned limit)
{
	unsigned n = 0;

	while (m.limit < limit && n < 100) {
		model_tick(&m, &a, LEAST, MOST);
		n++;
	}
	return n;
}

static void a_burst_gets_what_it_needs_within_two_seconds(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		begin(seed, 200, 1);
		run(60);
		assert_in_range(m.limit, 1, 3);
		m.nclients = 400;
		assert_in_range(ticks_until(95), 1, 2 * TICKS_PER_SECOND);
	}
}

static void a_burst_at_a_server_that_stepped_back_before_has_its_share_within_two_seconds(void **state)
{
	(void)state;
	begin(1, 20, 300);
	run(20);
	m.nclients = 2;
	run(60);
	assert_in_range(m.limit, 1, 15);
	m.nclients = 300;
	assert_in_range(ticks_until(16), 1, 2 * TICKS_PER_SECOND);
}

static void transactions_that_have_become_longer_do_not_shrink_it(void **state)
{
	(void)state;
	begin(1, 100, 60);
	run(30);
	assert_in_range(m.limit, 25, 100);
	m.work_us *= 3;
	run(60);
	assert_in_range(m.limit, 40, 100);
}

static void a_server_that_has_become_slower_under_load_gets_less(void **state)
{
	(void)state;
	begin(1, 40, 300);
	run(30);
	assert_in_range(m.limit, 40, 60);
	m.cores = 10;
	run(60);
	assert_in_range(m.limit, 1, 30);
}

static void what_is_not_asked_for_is_given_back_slowly(void **state)
{
	struct swing s;

	(void)state;
	begin(1, 100, 100);
	run(30);
	assert_in_range(m.limit, 40, 100);
	m.nclients = 4;
	s = run(10);
	assert_true(s.least == s.most);
	run(120);
	assert_in_range(m.limit, 3, 6);
}

static void it_stays_within_its_bounds(void **state)
{
	(void)state;
	begin(1, 20, 300);
	for (unsigned i = 0; i < 400; i++) {
		unsigned most = 5 + i % 10;

		model_tick(&m, &a, 5, most);
		assert_in_range(m.limit, 5, most);
	}
}

static void transactions_that_never_end_do_not_keep_others_waiting(void **state)
{
	struct adaptive_sample s = {.held = LEAST, .waiting = 10};

	(void)state;
	a = (struct adaptive){0};
	for (unsigned i = 0; i < 20; i++)
		s.held = adaptive_tick(&a, &s, LEAST, 50);
	assert_int_equal(a.limit, 50);
}

static void nothing_at_all_is_the_least(void **state)
{
	const struct adaptive_sample s = {0};

	(void)state;
	a = (struct adaptive){0};
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(adaptive_tick(&a, &s, 3, 50), 3);
}

static void an_idle_pool_comes_to_rest_and_ticks_more_or_less_do_not_show(void **state)
{
	struct adaptive_sample s = {.held = 30, .waiting = 60, .finished = 500, .busy_us = 500 * 20000};
	const struct adaptive_sample idle = {0};
	struct adaptive rested;
	unsigned n = 0;

	(void)state;
	a = (struct adaptive){0};
	for (unsigned i = 0; i < 200; i++) {
		s.held = adaptive_tick(&a, &s, LEAST, 50);
		assert_false(adaptive_is_at_rest(&a, LEAST));
	}
	while (!adaptive_is_at_rest(&a, LEAST)) {
		adaptive_tick(&a, &idle, LEAST, 50);
		/* A minute until all is forgotten, and what is given back a twentieth a second. */
		assert_true(n++ < 180 * 4);
	}
	rested = a;
	for (unsigned i = 0; i < 10 * 60 * 4; i++)
		adaptive_tick(&a, &idle, LEAST, 50);
	/* Both grow alike when clients come again. */
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(adaptive_tick(&a, &s, LEAST, 50), adaptive_tick(&rested, &s, LEAST, 50));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(under_steady_load_it_swings_by_a_fifth_at_most),
		cmocka_unit_test(an_idle_pool_comes_to_rest_and_ticks_more_or_less_do_not_show),
		cmocka_unit_test(a_saturated_server_gets_about_what_it_works_best_with),
		cmocka_unit_test(what_it_answers_is_nearly_what_the_best_fixed_size_does),
		cmocka_unit_test(a_burst_gets_what_it_needs_within_two_seconds),
		cmocka_unit_test(a_burst_at_a_server_that_stepped_back_before_has_its_share_within_two_seconds),
		cmocka_unit_test(transactions_that_have_become_longer_do_not_shrink_it),
		cmocka_unit_test(a_server_that_has_become_slower_under_load_gets_less),
		cmocka_unit_test(what_is_not_asked_for_is_given_back_slowly),
		cmocka_unit_test(it_stays_within_its_bounds),
		cmocka_unit_test(transactions_that_never_end_do_not_keep_others_waiting),
		cmocka_unit_test(nothing_at_all_is_the_least),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
