#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/breaker.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define NOW (1000 * SECOND)
#define MOST (15 * SECOND)

static struct breaker b;
static struct breaker_limits limits;

static int set_up(void **state)
{
	(void)state;
	b = (struct breaker){0};
	limits = (struct breaker_limits){.failures = 3, .attempts = 4, .most_wait_us = MOST};
	return 0;
}

static bool allows(uint64_t now)
{
	return breaker_allows(&b, &limits, now);
}

/* An attempt that begins at `now`, as soon as that is allowed, and fails on the spot. True: the state has changed. */
static bool fail_at(uint64_t now, enum breaker_stage stage)
{
	assert_true(allows(now));
	assert_false(breaker_begins(&b, now));
	return breaker_fails(&b, &limits, stage, now, now, UINT32_MAX);
}

/* Fails until it is open; the time of the last failure. */
static uint64_t open_it(enum breaker_stage stage)
{
	uint64_t now = NOW;

	while (b.nfailures + 1 < limits.failures) {
		assert_false(fail_at(now, stage));
		now = b.backoff.retry_at;
	}
	assert_true(fail_at(now, stage));
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	return now;
}

/* Goes to the probe of an open breaker; the time of its beginning. */
static uint64_t begin_probe(void)
{
	uint64_t now = b.backoff.retry_at;

	assert_true(allows(now));
	assert_false(breaker_begins(&b, now));
	assert_int_equal(breaker_state(&b), BREAKER_HALF_OPEN);
	return now;
}

/* ------------------------------------------------------------------ closed */

static void while_all_is_well_so_many_attempts_may_be_under_way(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_true(allows(NOW));
		assert_false(breaker_begins(&b, NOW));
	}
	assert_false(allows(NOW));
	assert_int_equal(breaker_wakes_at(&b), 0);
	assert_false(breaker_succeeds(&b));
	assert_true(allows(NOW));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
}

static void a_bound_of_zero_is_none(void **state)
{
	(void)state;
	limits.attempts = 0;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(allows(NOW));
		breaker_begins(&b, NOW);
	}
}

static void an_attempt_given_up_leaves_no_trace(void **state)
{
	(void)state;
	breaker_begins(&b, NOW);
	breaker_gives_up(&b);
	assert_int_equal(b.nattempts, 0);
	assert_int_equal(b.nfailures, 0);
	assert_true(allows(NOW));
	assert_int_equal(breaker_wakes_at(&b), 0);
}

static void after_a_failure_the_wait_comes_first_and_then_one_at_a_time(void **state)
{
	(void)state;
	fail_at(NOW, BREAKER_LOGIN);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_false(allows(NOW));
	assert_false(allows(NOW + 100 * MS - 1));
	assert_int_equal(breaker_wakes_at(&b), NOW + 100 * MS);
	assert_true(allows(NOW + 100 * MS));
	breaker_begins(&b, NOW + 100 * MS);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_false(allows(NOW + 100 * MS));
	assert_false(allows(NOW + 1000 * SECOND));
	assert_int_equal(breaker_wakes_at(&b), 0);
}

static void a_success_forgets_the_failures_before_it(void **state)
{
	(void)state;
	fail_at(NOW, BREAKER_LOGIN);
	fail_at(NOW + SECOND, BREAKER_LOGIN);
	breaker_begins(&b, NOW + 2 * SECOND);
	assert_false(breaker_succeeds(&b));
	assert_true(allows(NOW + 2 * SECOND));
	/* Two more do not make three in a row, and the wait is the first one again. */
	assert_false(fail_at(NOW + 3 * SECOND, BREAKER_LOGIN));
	assert_int_equal(b.backoff.retry_at, NOW + 3 * SECOND + 100 * MS);
	assert_false(fail_at(NOW + 4 * SECOND, BREAKER_LOGIN));
	assert_true(fail_at(NOW + 5 * SECOND, BREAKER_LOGIN));
}

static void attempts_that_fail_together_make_the_wait_grow_once(void **state)
{
	(void)state;
	limits.failures = 100;
	for (unsigned i = 0; i < 4; i++)
		breaker_begins(&b, NOW);
	for (unsigned i = 0; i < 4; i++)
		breaker_fails(&b, &limits, BREAKER_LOGIN, NOW + SECOND + i * MS, NOW, UINT32_MAX);
	assert_int_equal(b.backoff.rounds, 1);
	assert_int_equal(b.backoff.retry_at, NOW + SECOND + 100 * MS);
	/* But each is a failure in a row. */
	assert_int_equal(b.nfailures, 4);
}

static void attempts_that_fail_together_can_open_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		breaker_begins(&b, NOW);
	assert_false(breaker_fails(&b, &limits, BREAKER_CONNECT, NOW + MS, NOW, UINT32_MAX));
	assert_false(breaker_fails(&b, &limits, BREAKER_CONNECT, NOW + MS, NOW, UINT32_MAX));
	assert_true(breaker_fails(&b, &limits, BREAKER_CONNECT, NOW + MS, NOW, UINT32_MAX));
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	assert_int_equal(breaker_wakes_at(&b), NOW + MS + 100 * MS);
}

static void one_of_several_that_succeeds_closes_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		breaker_begins(&b, NOW);
	for (unsigned i = 0; i < 3; i++)
		breaker_fails(&b, &limits, BREAKER_LOGIN, NOW + MS, NOW, UINT32_MAX);
	assert_true(b.is_open);
	assert_true(breaker_succeeds(&b));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_true(allows(NOW + MS));
}

/* "half-open: the time for it has come: one probe" */
static void what_began_before_it_opened_is_no_probe(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		breaker_begins(&b, NOW);
	for (unsigned i = 0; i < 3; i++)
		breaker_fails(&b, &limits, BREAKER_LOGIN, NOW + MS, NOW, UINT32_MAX);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
}

/* ------------------------------------------------------------------ open and half-open */

static void so_many_failures_in_a_row_open_it(void **state)
{
	(void)state;
	assert_false(fail_at(NOW, BREAKER_LOGIN));
	assert_false(fail_at(NOW + SECOND, BREAKER_LOGIN));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_true(fail_at(NOW + 2 * SECOND, BREAKER_LOGIN));
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
}

static void an_open_one_lets_nobody_through_before_the_next_try(void **state)
{
	uint64_t now;

	(void)state;
	now = open_it(BREAKER_LOGIN);
	for (uint64_t t = now; t < now + 400 * MS; t += MS)
		assert_false(allows(t));
	assert_int_equal(breaker_wakes_at(&b), now + 400 * MS);
	assert_true(allows(now + 400 * MS));
	/* As long as nobody comes it stays open. */
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
}

static void there_is_one_probe_at_a_time(void **state)
{
	uint64_t now;

	(void)state;
	open_it(BREAKER_CONNECT);
	now = begin_probe();
	assert_false(allows(now));
	assert_false(allows(now + 1000 * SECOND));
	assert_int_equal(breaker_wakes_at(&b), 0);
}

static void a_probe_that_succeeds_closes_it(void **state)
{
	uint64_t now;

	(void)state;
	open_it(BREAKER_CONNECT);
	now = begin_probe();
	assert_true(breaker_succeeds(&b));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_int_equal(breaker_wakes_at(&b), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(allows(now));
		breaker_begins(&b, now);
	}
}

static void a_probe_that_fails_opens_it_for_longer(void **state)
{
	uint64_t now;

	(void)state;
	open_it(BREAKER_LOGIN);
	for (uint64_t wait = 800 * MS; wait < MOST; wait *= 2) {
		now = begin_probe();
		assert_false(breaker_fails(&b, &limits, BREAKER_LOGIN, now + MS, now, UINT32_MAX));
		assert_int_equal(breaker_state(&b), BREAKER_OPEN);
		assert_int_equal(breaker_wakes_at(&b), now + MS + wait);
	}
	now = begin_probe();
	breaker_fails(&b, &limits, BREAKER_LOGIN, now, now, UINT32_MAX);
	assert_int_equal(breaker_wakes_at(&b), now + MOST);
}

static void a_probe_given_up_lets_another_begin_at_once(void **state)
{
	uint64_t now;

	(void)state;
	open_it(BREAKER_LOGIN);
	now = begin_probe();
	breaker_gives_up(&b);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	assert_true(allows(now));
	assert_int_equal(b.backoff.rounds, 3);
	assert_in_range(breaker_wakes_at(&b), 1, now);
}

static void the_wait_is_between_10_ms_and_the_whole(void **state)
{
	(void)state;
	breaker_begins(&b, NOW);
	breaker_fails(&b, &limits, BREAKER_LOGIN, NOW, NOW, 0);
	assert_int_equal(breaker_wakes_at(&b), NOW + 10 * MS);
	for (unsigned i = 1; i < 30; i++) {
		uint64_t now = breaker_wakes_at(&b);

		breaker_begins(&b, now);
		breaker_fails(&b, &limits, BREAKER_LOGIN, now, now, i % 2 == 0 ? 0 : UINT32_MAX);
		assert_in_range(breaker_wakes_at(&b) - now, 10 * MS, MOST);
	}
	assert_int_equal(b.backoff.retry_at - b.backoff.failed_at, MOST);
}

static void a_lower_bound_after_a_reload_opens_it_with_the_next_failure(void **state)
{
	(void)state;
	limits.failures = 100;
	for (unsigned i = 0; i < 10; i++)
		assert_false(fail_at(NOW + i * 100 * SECOND, BREAKER_LOGIN));
	limits.failures = 5;
	assert_true(fail_at(NOW + 1000 * SECOND, BREAKER_LOGIN));
}

/* ------------------------------------------------------------------ looks */

/* Fails to connect so often that the next try is far away; the time of the last failure. */
static uint64_t be_down_for_long(void)
{
	uint64_t now = open_it(BREAKER_CONNECT);

	for (unsigned i = 0; i < 8; i++) {
		now = begin_probe();
		breaker_fails(&b, &limits, BREAKER_CONNECT, now, now, UINT32_MAX);
	}
	assert_int_equal(b.backoff.retry_at, now + MOST);
	return now;
}

static void a_port_that_refused_is_looked_at_twice_a_second(void **state)
{
	uint64_t now, retry_at;

	(void)state;
	now = be_down_for_long();
	retry_at = b.backoff.retry_at;
	for (unsigned i = 0; i < 29; i++) {
		assert_int_equal(breaker_wakes_at(&b), now + 500 * MS);
		assert_false(allows(now + 500 * MS - 1));
		now += 500 * MS;
		assert_true(allows(now));
		assert_true(breaker_begins(&b, now));
		breaker_looks_on(&b, now);
	}
	/* Then it is time for the attempt. */
	assert_int_equal(breaker_wakes_at(&b), retry_at);
	assert_false(breaker_begins(&b, retry_at));
}

static void a_look_that_fails_did_not_happen(void **state)
{
	struct breaker before;
	uint64_t now;

	(void)state;
	now = be_down_for_long();
	before = b;
	breaker_begins(&b, now + 600 * MS);
	breaker_looks_on(&b, now + 610 * MS);
	assert_int_equal(b.nfailures, before.nfailures);
	assert_int_equal(b.nattempts, 0);
	assert_memory_equal(&b.backoff, &before.backoff, sizeof(b.backoff));
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	assert_int_equal(breaker_wakes_at(&b), now + 1110 * MS);
}

static void there_is_one_look_at_a_time(void **state)
{
	uint64_t now;

	(void)state;
	now = be_down_for_long();
	breaker_begins(&b, now + 500 * MS);
	assert_false(allows(now + 500 * MS));
	assert_false(allows(now + MOST));
	assert_int_equal(breaker_wakes_at(&b), 0);
}

static void a_look_that_succeeds_closes_it(void **state)
{
	uint64_t now;

	(void)state;
	now = be_down_for_long();
	assert_true(breaker_begins(&b, now + 500 * MS));
	assert_true(breaker_succeeds(&b));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_true(allows(now + 500 * MS));
}

static void a_look_that_gets_through_is_the_next_attempt(void **state)
{
	uint64_t now;
	unsigned n;

	(void)state;
	now = be_down_for_long();
	n = b.nfailures;
	assert_true(breaker_begins(&b, now + 500 * MS));
	breaker_fails(&b, &limits, BREAKER_LOGIN, now + 600 * MS, now + 500 * MS, UINT32_MAX);
	assert_int_equal(b.nfailures, n + 1);
	assert_int_equal(breaker_wakes_at(&b), now + 600 * MS + MOST);
	assert_false(allows(now + 600 * MS + MOST - 1));
}

static void a_look_longer_than_the_wait_is_followed_by_an_attempt(void **state)
{
	uint64_t now;

	(void)state;
	now = be_down_for_long();
	assert_true(breaker_begins(&b, now + 14 * SECOND));
	breaker_looks_on(&b, now + 20 * SECOND);
	assert_true(allows(now + 20 * SECOND));
	assert_false(breaker_begins(&b, now + 20 * SECOND));
}

static void a_look_that_nobody_takes_is_put_off(void **state)
{
	uint64_t now = open_it(BREAKER_CONNECT);

	(void)state;
	b.backoff.retry_at = now + 10 * SECOND;
	breaker_skips_look(&b, now + 499 * MS);
	assert_int_equal(breaker_wakes_at(&b), now + 500 * MS);
	breaker_skips_look(&b, now + 600 * MS);
	assert_int_equal(breaker_wakes_at(&b), now + 1100 * MS);
	assert_true(allows(now + 1100 * MS));
	breaker_begins(&b, now + 1100 * MS);
	breaker_skips_look(&b, now + 1200 * MS);
	assert_int_equal(b.look_at, now + 1100 * MS);
}

static void where_there_are_no_looks_none_is_put_off(void **state)
{
	(void)state;
	open_it(BREAKER_LOGIN);
	breaker_skips_look(&b, b.backoff.retry_at);
	assert_int_equal(b.look_at, 0);
}

static void who_answers_but_lets_nobody_in_is_not_looked_at(void **state)
{
	(void)state;
	be_down_for_long();
	begin_probe();
	breaker_fails(&b, &limits, BREAKER_LOGIN, NOW + 100 * SECOND, NOW + 100 * SECOND, UINT32_MAX);
	assert_int_equal(b.look_at, 0);
	assert_int_equal(breaker_wakes_at(&b), b.backoff.retry_at);
}

static void a_look_is_none_when_the_attempt_is_due_sooner(void **state)
{
	(void)state;
	fail_at(NOW, BREAKER_CONNECT);
	assert_int_equal(breaker_wakes_at(&b), NOW + 100 * MS);
	assert_false(breaker_begins(&b, NOW + 100 * MS));
}

/* ------------------------------------------------------------------ "the database system is starting up" */

static void who_says_that_he_will_be_there_soon_is_not_down(void **state)
{
	uint64_t now;

	(void)state;
	now = NOW;
	for (unsigned i = 0; i < 10; i++) {
		assert_false(fail_at(now, BREAKER_NOT_YET));
		assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
		now = b.backoff.retry_at;
	}
}

static void who_will_be_there_soon_is_asked_at_least_once_a_second(void **state)
{
	static const uint64_t waits[] = {100, 200, 400, 800, 1000, 1000, 1000};
	uint64_t now = NOW;

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		fail_at(now, BREAKER_NOT_YET);
		assert_int_equal(b.backoff.retry_at - now, waits[i] * MS);
		assert_int_equal(breaker_wakes_at(&b), b.backoff.retry_at);
		now = b.backoff.retry_at;
	}
}

static void a_shorter_bound_holds_for_him_too(void **state)
{
	(void)state;
	limits.most_wait_us = 300 * MS;
	for (unsigned i = 0; i < 5; i++)
		fail_at(NOW + i * SECOND, BREAKER_NOT_YET);
	assert_int_equal(b.backoff.retry_at - b.backoff.failed_at, 300 * MS);
}

static void a_server_that_starts_closes_it_and_shortens_the_wait(void **state)
{
	uint64_t now;

	(void)state;
	now = be_down_for_long();
	assert_true(breaker_begins(&b, now + 500 * MS));
	assert_true(breaker_fails(&b, &limits, BREAKER_NOT_YET, now + 501 * MS, now + 500 * MS, UINT32_MAX));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_int_equal(b.backoff.rounds, 1);
	assert_int_equal(breaker_wakes_at(&b), now + 601 * MS);
	/* The row of failures is not over: one that is worse opens it again. */
	assert_true(fail_at(now + 601 * MS, BREAKER_CONNECT));
}

static void servers_found_starting_together_are_one_round(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		breaker_begins(&b, NOW);
	breaker_fails(&b, &limits, BREAKER_CONNECT, NOW + MS, NOW, UINT32_MAX);
	for (unsigned i = 0; i < 3; i++)
		breaker_fails(&b, &limits, BREAKER_NOT_YET, NOW + 2 * MS + i, NOW, UINT32_MAX);
	assert_int_equal(b.backoff.rounds, 1);
	assert_int_equal(breaker_wakes_at(&b), NOW + 102 * MS);
}

/* ------------------------------------------------------------------ all of it */

static uint32_t dice(void)
{
	static uint32_t x = 12345;

	x = x * 1664525 + 1013904223;
	return x >> 8;
}

/* A time that is told is the first at which an attempt may begin. */
static void assert_wakes_when_it_allows(uint64_t now)
{
	uint64_t at = breaker_wakes_at(&b);

	if (at == 0) {
		assert_true(allows(now) == allows(now + 1000 * SECOND));
		return;
	}
	assert_true(allows(at));
	assert_int_equal(allows(now), now >= at);
	assert_false(allows(at - 1));
}

static void nobody_is_let_through_too_early_and_nobody_waits_too_long(void **state)
{
	struct {
		uint64_t began_at;
		bool is_look;
	} under_way[8];
	uint64_t now = NOW;
	unsigned n = 0;

	(void)state;
	limits.attempts = 8;
	for (unsigned step = 0; step < 200000; step++) {
		now += dice() % (200 * MS);
		if (n < 8 && dice() % 2 == 0 && allows(now)) {
			assert_true(b.backoff.retry_at == 0 || n == 0);
			under_way[n].began_at = now;
			under_way[n].is_look = breaker_begins(&b, now);
			assert_int_equal(under_way[n].is_look, b.backoff.retry_at > now);
			n++;
		} else if (n > 0) {
			unsigned k = dice() % n;
			uint32_t how = dice() % 16;
			bool was_open = b.is_open;

			if (how == 0) {
				assert_int_equal(breaker_succeeds(&b), was_open);
				assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
			} else if (how == 1) {
				breaker_gives_up(&b);
			} else if (under_way[k].is_look && how < 12) {
				breaker_looks_on(&b, now);
				assert_int_equal(b.is_open, was_open);
			} else {
				enum breaker_stage stage = how < 12 ? BREAKER_CONNECT : how < 15 ? BREAKER_LOGIN : BREAKER_NOT_YET;
				bool changed = breaker_fails(&b, &limits, stage, now, under_way[k].began_at, dice() << 8);

				assert_int_equal(changed, was_open != b.is_open);
				assert_int_equal(b.is_open, stage != BREAKER_NOT_YET && b.nfailures >= limits.failures);
			}
			under_way[k] = under_way[--n];
		}
		assert_int_equal(b.nattempts, n);
		assert_wakes_when_it_allows(now);
	}
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(while_all_is_well_so_many_attempts_may_be_under_way),
		TEST(a_bound_of_zero_is_none),
		TEST(an_attempt_given_up_leaves_no_trace),
		TEST(after_a_failure_the_wait_comes_first_and_then_one_at_a_time),
		TEST(a_success_forgets_the_failures_before_it),
		TEST(attempts_that_fail_together_make_the_wait_grow_once),
		TEST(attempts_that_fail_together_can_open_it),
		TEST(one_of_several_that_succeeds_closes_it),
		TEST(what_began_before_it_opened_is_no_probe),
		TEST(so_many_failures_in_a_row_open_it),
		TEST(an_open_one_lets_nobody_through_before_the_next_try),
		TEST(there_is_one_probe_at_a_time),
		TEST(a_probe_that_succeeds_closes_it),
		TEST(a_probe_that_fails_opens_it_for_longer),
		TEST(a_probe_given_up_lets_another_begin_at_once),
		TEST(the_wait_is_between_10_ms_and_the_whole),
		TEST(a_lower_bound_after_a_reload_opens_it_with_the_next_failure),
		TEST(a_port_that_refused_is_looked_at_twice_a_second),
		TEST(a_look_that_fails_did_not_happen),
		TEST(there_is_one_look_at_a_time),
		TEST(a_look_that_succeeds_closes_it),
		TEST(a_look_that_gets_through_is_the_next_attempt),
		TEST(a_look_longer_than_the_wait_is_followed_by_an_attempt),
		TEST(a_look_that_nobody_takes_is_put_off),
		TEST(where_there_are_no_looks_none_is_put_off),
		TEST(who_answers_but_lets_nobody_in_is_not_looked_at),
		TEST(a_look_is_none_when_the_attempt_is_due_sooner),
		TEST(who_says_that_he_will_be_there_soon_is_not_down),
		TEST(who_will_be_there_soon_is_asked_at_least_once_a_second),
		TEST(a_shorter_bound_holds_for_him_too),
		TEST(a_server_that_starts_closes_it_and_shortens_the_wait),
		TEST(servers_found_starting_together_are_one_round),
		TEST(nobody_is_let_through_too_early_and_nobody_waits_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
