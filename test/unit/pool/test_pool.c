#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "pool/pool.h"

#define SECOND UINT64_C(1000000)
#define NOW (1000 * SECOND)

static struct pool pool;
static struct pool_server servers[16];
static struct pool_client clients[16];
static struct pool_server *got;
static bool reserve;

static int set_up(void **state)
{
	(void)state;
	memset(servers, 0, sizeof(servers));
	memset(clients, 0, sizeof(clients));
	pool_init(&pool, NULL, NULL);
	pool.settings.size = 5;
	pool.settings.connect_parallel = 4;
	pool.nclients = 1;
	got = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pool_fini(&pool);
	return 0;
}

/* Servers 0 to n-1, idle since NOW; released in this order. */
static void have_idle(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		pool_server_join(&pool, &servers[i], NOW);
		assert_null(pool_release(&servers[i], NOW));
	}
}

static void have_active(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		pool_server_join(&pool, &servers[i], NOW);
		pool_server_enter(&servers[i], POOL_SERVER_ACTIVE);
	}
}

static enum pool_answer acquire(unsigned client, uint64_t now)
{
	got = NULL;
	return pool_acquire(&pool, &clients[client], now, &got);
}

static bool wants(uint64_t now)
{
	return pool_wants_server(&pool, now, &reserve);
}

/* Opens what the pool wants; returns how many. They stay NEW. */
static unsigned fill(unsigned first, uint64_t now)
{
	unsigned n = 0;

	while (wants(now))
		pool_server_join(&pool, &servers[first + n++], now);
	return n;
}

static void assert_counts(unsigned new, unsigned idle, unsigned tested, unsigned active, unsigned canceled)
{
	assert_int_equal(pool.nservers[POOL_SERVER_NEW], new);
	assert_int_equal(pool.nservers[POOL_SERVER_IDLE], idle);
	assert_int_equal(pool.nservers[POOL_SERVER_TESTED], tested);
	assert_int_equal(pool.nservers[POOL_SERVER_ACTIVE], active);
	assert_int_equal(pool.nservers[POOL_SERVER_BEING_CANCELED], canceled);
	assert_int_equal(pool_server_count(&pool), new + idle + tested + active + canceled);
	assert_int_equal(pool_open_count(&pool), idle + tested + active + canceled);
}

/* ------------------------------------------------------------------ who gets which server */

static void an_idle_server_is_granted_at_once(void **state)
{
	(void)state;
	have_idle(1);
	assert_int_equal(acquire(0, NOW), POOL_GRANTED);
	assert_ptr_equal(got, &servers[0]);
	assert_int_equal(servers[0].state, POOL_SERVER_ACTIVE);
	assert_int_equal(clients[0].waiting_since, 0);
	assert_ptr_equal(clients[0].pool, &pool);
	assert_int_equal(pool.nwaiting, 0);
}

/* One who waits is served by those who have the servers now, and by nobody else. */
static void a_pool_whose_clients_hold_all_that_it_may_have_is_busy(void **state)
{
	(void)state;
	have_active(5);
	assert_true(pool_is_busy(&pool));
	assert_int_equal(acquire(0, NOW), POOL_QUEUED);
	assert_false(wants(NOW));
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
	pool.settings.size = 6;
	assert_false(pool_is_busy(&pool));
	assert_true(wants(NOW));
	pool.settings.size = 0;
	assert_false(pool_is_busy(&pool));
}

static void a_pool_with_a_reserve_or_an_idle_server_is_not_busy(void **state)
{
	(void)state;
	have_active(5);
	pool.settings.reserve_size = 1;
	assert_false(pool_is_busy(&pool));
	pool.settings.reserve_size = 0;
	assert_true(pool_is_busy(&pool));
	pool_release(&servers[0], NOW);
	assert_false(pool_is_busy(&pool));
}

static void without_an_idle_server_the_client_waits(void **state)
{
	(void)state;
	have_active(5);
	assert_int_equal(acquire(0, NOW), POOL_QUEUED);
	assert_int_equal(pool.nwaiting, 1);
	assert_int_equal(clients[0].waiting_since, NOW);
}

/* One that gives up has had no server, and its wait is nobody's. */
static void who_is_served_at_once_is_a_hit_and_who_waits_is_a_miss(void **state)
{
	const struct histogram_period *waits;

	(void)state;
	have_idle(1);
	acquire(0, NOW);
	acquire(1, NOW);
	acquire(2, NOW);
	assert_int_equal(pool.stats.now.pool_hits, 1);
	assert_int_equal(pool.stats.now.pool_misses, 2);
	pool_forget(&clients[2]);
	pool_release(&servers[0], NOW + 700);
	assert_int_equal(pool.stats.now.pool_hits, 1);
	assert_int_equal(pool.stats.now.pool_misses, 2);
	waits = &pool.latency[LATENCY_WAIT]->current;
	assert_int_equal(waits->count, 2);
	assert_int_equal(waits->buckets[0], 1);
	assert_int_equal(waits->sum, 700);
}

/* Anybody may make pools by logging in with names that do not exist. */
static void a_pool_that_has_never_served_has_no_histograms(void **state)
{
	struct histogram sum = {0};

	(void)state;
	pool_turn_latency(&pool);
	for (size_t i = 0; i < LATENCY_KINDS; i++) {
		assert_null(pool.latency[i]);
		histogram_add_recent(&sum, pool.latency[i]);
		histogram_add_total(&sum, pool.latency[i]);
	}
	assert_int_equal(sum.count, 0);
	pool_record(&pool, LATENCY_LOGIN, 9);
	pool_record(&pool, LATENCY_LOGIN, 9);
	histogram_add_recent(&sum, pool.latency[LATENCY_LOGIN]);
	assert_int_equal(sum.count, 2);
	assert_null(pool.latency[LATENCY_QUERY]);
	assert_true(sizeof(pool) < 2048);
}

static void waiting_clients_are_served_in_order_of_arrival(void **state)
{
	(void)state;
	have_active(2);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(acquire(i, NOW + i), POOL_QUEUED);
	for (unsigned i = 0; i < 5; i++) {
		assert_ptr_equal(pool_release(&servers[i % 2], NOW + 10), &clients[i]);
		assert_int_equal(servers[i % 2].state, POOL_SERVER_ACTIVE);
		assert_int_equal(clients[i].waiting_since, 0);
	}
	assert_null(pool_release(&servers[0], NOW + 10));
	assert_int_equal(servers[0].state, POOL_SERVER_IDLE);
	assert_int_equal(servers[0].idle_since, NOW + 10);
}

static void nobody_overtakes_those_who_wait(void **state)
{
	(void)state;
	have_active(2);
	pool_server_enter(&servers[1], POOL_SERVER_BEING_CANCELED);
	assert_int_equal(acquire(0, NOW), POOL_QUEUED);
	/* The cancel request is done, and the server idle by another way than pool_release(). */
	pool_server_enter(&servers[1], POOL_SERVER_IDLE);
	assert_int_not_equal(acquire(1, NOW), POOL_GRANTED);
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[0]);
}

static void one_who_gives_up_is_passed_over(void **state)
{
	(void)state;
	have_active(1);
	for (unsigned i = 0; i < 3; i++)
		acquire(i, NOW);
	pool_forget(&clients[1]);
	pool_forget(&clients[1]);
	assert_int_equal(pool.nwaiting, 2);
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[0]);
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[2]);
	assert_null(pool_release(&servers[0], NOW));
	pool_forget(&clients[0]);
	assert_int_equal(pool.nwaiting, 0);
}

static void the_server_used_last_is_taken_first(void **state)
{
	(void)state;
	have_idle(3);
	for (unsigned i = 0; i < 3; i++) {
		acquire(i, NOW);
		assert_ptr_equal(got, &servers[2 - i]);
	}
}

static void round_robin_takes_the_server_idle_for_longest(void **state)
{
	(void)state;
	pool.settings.round_robin = true;
	have_idle(3);
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(acquire(0, NOW), POOL_GRANTED);
		assert_ptr_equal(got, &servers[i % 3]);
		assert_null(pool_release(got, NOW));
	}
}

static void a_waiting_client_is_given_a_new_server_when_it_is_ready(void **state)
{
	(void)state;
	acquire(0, NOW);
	pool_server_join(&pool, &servers[0], NOW);
	assert_ptr_equal(pool_release(&servers[0], NOW + 5), &clients[0]);
	assert_counts(0, 0, 0, 1, 0);
}

static void resumed_servers_go_to_those_who_wait(void **state)
{
	(void)state;
	have_idle(2);
	pool.is_paused = true;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(acquire(i, NOW), POOL_QUEUED);
	assert_null(pool_serve(&pool, NOW, &got));
	pool.is_paused = false;
	assert_ptr_equal(pool_serve(&pool, NOW, &got), &clients[0]);
	assert_ptr_equal(got, &servers[1]);
	assert_int_equal(got->state, POOL_SERVER_ACTIVE);
	assert_ptr_equal(pool_serve(&pool, NOW, &got), &clients[1]);
	assert_null(pool_serve(&pool, NOW, &got));
	assert_int_equal(pool.nwaiting, 1);
}

/* ------------------------------------------------------------------ checks */

static void a_server_idle_for_too_long_is_checked_first(void **state)
{
	(void)state;
	pool.settings.checks = true;
	pool.settings.check_delay_us = 30 * SECOND;
	have_idle(1);
	assert_int_equal(acquire(0, NOW + 30 * SECOND), POOL_GRANTED);
	assert_null(pool_release(got, NOW));
	assert_int_equal(acquire(1, NOW + 30 * SECOND + 1), POOL_QUEUED_TEST_ONE);
	assert_ptr_equal(got, &servers[0]);
	assert_counts(0, 0, 1, 0, 0);
	/* It passed the check. */
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[1]);
	assert_counts(0, 0, 0, 1, 0);
}

static void without_a_check_query_no_server_is_checked(void **state)
{
	(void)state;
	pool.settings.checks = false;
	have_idle(1);
	assert_int_equal(acquire(0, NOW + 1000 * SECOND), POOL_GRANTED);
}

static void each_who_waits_for_a_check_has_a_server_of_his_own_checked(void **state)
{
	(void)state;
	pool.settings.checks = true;
	have_idle(2);
	assert_int_equal(acquire(0, NOW + 1), POOL_QUEUED_TEST_ONE);
	assert_int_equal(acquire(1, NOW + 1), POOL_QUEUED_TEST_ONE);
	assert_counts(0, 0, 2, 0, 0);
	/* Those two are coming: none is wanted besides. */
	assert_false(wants(NOW + 1));
	assert_int_equal(acquire(2, NOW + 1), POOL_QUEUED);
	assert_true(wants(NOW + 1));
}

/* ------------------------------------------------------------------ counts */

static void every_server_is_counted_where_it_stands(void **state)
{
	(void)state;
	have_idle(3);
	assert_counts(0, 3, 0, 0, 0);
	pool_server_join(&pool, &servers[3], NOW);
	assert_int_equal(servers[3].state, POOL_SERVER_NEW);
	pool_server_enter(&servers[0], POOL_SERVER_TESTED);
	pool_server_enter(&servers[1], POOL_SERVER_BEING_CANCELED);
	acquire(0, NOW);
	assert_counts(1, 0, 1, 1, 1);
	for (unsigned i = 0; i < 4; i++)
		pool_server_leave(&servers[i], NOW);
	assert_counts(0, 0, 0, 0, 0);
	assert_null(servers[0].pool);
}

static void a_server_that_leaves_while_idle_is_never_granted(void **state)
{
	(void)state;
	have_idle(3);
	pool_server_leave(&servers[2], NOW);
	pool_server_leave(&servers[0], NOW);
	assert_int_equal(acquire(0, NOW), POOL_GRANTED);
	assert_ptr_equal(got, &servers[1]);
	assert_int_equal(acquire(1, NOW), POOL_QUEUED);
}

static void waits_and_assignments_are_counted(void **state)
{
	(void)state;
	have_idle(1);
	acquire(0, NOW);
	assert_int_equal(pool.stats.now.server_assignment_count, 1);
	assert_int_equal(pool.stats.now.wait_time, 0);
	acquire(1, NOW);
	acquire(2, NOW + 100);
	pool_release(&servers[0], NOW + 150);
	pool_release(&servers[0], NOW + 250);
	assert_int_equal(pool.stats.now.server_assignment_count, 3);
	assert_int_equal(pool.stats.now.wait_time, 150 + 150);
}

static void the_longest_wait_is_that_of_the_first_in_line(void **state)
{
	(void)state;
	assert_int_equal(pool_maxwait_us(&pool, NOW), 0);
	have_active(5);
	acquire(0, NOW);
	acquire(1, NOW + 10);
	assert_int_equal(pool_maxwait_us(&pool, NOW + 100), 100);
	pool_await_login(&pool, &clients[2], NOW - 50);
	assert_int_equal(pool_maxwait_us(&pool, NOW + 100), 150);
	pool_forget(&clients[2]);
	pool_forget(&clients[0]);
	assert_int_equal(pool_maxwait_us(&pool, NOW + 100), 90);
}

/* ------------------------------------------------------------------ when another server is wanted */

static void nobody_waits_and_nothing_is_wanted(void **state)
{
	(void)state;
	assert_false(wants(NOW));
	have_idle(1);
	assert_false(wants(NOW));
}

static void each_who_waits_wants_a_server_that_is_not_coming_yet(void **state)
{
	(void)state;
	acquire(0, NOW);
	acquire(1, NOW);
	assert_int_equal(fill(0, NOW), 2);
	assert_false(reserve);
	assert_false(wants(NOW));
	acquire(2, NOW);
	assert_true(wants(NOW));
}

static void only_so_many_connect_at_a_time(void **state)
{
	(void)state;
	pool.settings.size = 10;
	pool.settings.connect_parallel = 3;
	for (unsigned i = 0; i < 8; i++)
		acquire(i, NOW);
	assert_int_equal(fill(0, NOW), 3);
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[0]);
	assert_int_equal(fill(3, NOW), 1);
	assert_int_equal(pool.nservers[POOL_SERVER_NEW], 3);
}

/* Clients wait for all the servers there may be; returns how many are opened at once. */
static unsigned fill_for_a_crowd(unsigned first, uint64_t now)
{
	pool.settings.size = 16;
	pool.settings.connect_parallel = 10;
	for (unsigned i = 0; i < 16; i++)
		if (clients[i].waiting_since == 0)
			acquire(i, now);
	return fill(first, now);
}

static void one_login_opens_the_door_for_as_many_as_may_connect(void **state)
{
	(void)state;
	assert_int_equal(fill_for_a_crowd(0, NOW), POOL_FIRST_CONNECTS);
	pool_was_let_in(&pool, NOW, NOW + 1);
	pool_release(&servers[0], NOW + 1);
	assert_int_equal(fill(4, NOW + 1), 7);
	assert_int_equal(pool.nservers[POOL_SERVER_NEW], 10);
}

static void a_login_proves_nothing_after_a_second(void **state)
{
	(void)state;
	pool_was_let_in(&pool, NOW, NOW + 1);
	assert_int_equal(fill_for_a_crowd(0, NOW + 1 + SECOND), POOL_FIRST_CONNECTS);
}

static void a_login_still_proves_something_within_a_second(void **state)
{
	(void)state;
	pool_was_let_in(&pool, NOW, NOW + 1);
	assert_int_equal(fill_for_a_crowd(0, NOW + SECOND), 10);
}

static void an_attempt_that_comes_to_nothing_closes_the_door(void **state)
{
	(void)state;
	pool_was_let_in(&pool, NOW, NOW + 1);
	assert_int_equal(fill_for_a_crowd(0, NOW + 1), 10);
	pool_server_leave(&servers[0], NOW + 2);
	for (unsigned i = 1; i < 7; i++)
		pool_release(&servers[i], NOW + 2);
	assert_int_equal(pool.nservers[POOL_SERVER_NEW], 3);
	assert_int_equal(fill(10, NOW + 2), 1);
}

static void only_a_login_that_began_after_the_failure_opens_it_again(void **state)
{
	(void)state;
	assert_int_equal(fill_for_a_crowd(0, NOW), POOL_FIRST_CONNECTS);
	pool_server_leave(&servers[0], NOW + 5);
	assert_int_equal(fill(4, NOW + 5), 1);
	pool_was_let_in(&pool, NOW, NOW + 6);
	pool_release(&servers[1], NOW + 6);
	assert_int_equal(fill(5, NOW + 6), 1);
	pool_was_let_in(&pool, NOW + 6, NOW + 7);
	pool_release(&servers[5], NOW + 7);
	assert_int_equal(fill(6, NOW + 7), 7);
}

static void a_server_that_is_lost_young_closes_the_door_too(void **state)
{
	(void)state;
	pool_was_let_in(&pool, NOW, NOW + 1);
	backoff_failed(&pool.backoff, NOW + 2, NOW, SECOND, 0);
	assert_int_equal(fill_for_a_crowd(0, NOW + SECOND / 2), POOL_FIRST_CONNECTS);
}

static void fewer_than_the_first_ones_is_the_bound_in_any_case(void **state)
{
	(void)state;
	pool.settings.connect_parallel = 2;
	for (unsigned i = 0; i < 5; i++)
		acquire(i, NOW);
	assert_int_equal(fill(0, NOW), 2);
	pool_was_let_in(&pool, NOW, NOW + 1);
	assert_false(wants(NOW + 1));
}

static void the_pool_is_never_larger_than_its_size(void **state)
{
	unsigned n = 0;

	(void)state;
	pool.settings.size = 3;
	pool.settings.min_size = 8;
	for (unsigned i = 0; i < 10; i++)
		acquire(i, NOW);
	while (wants(NOW + 1000 * SECOND)) {
		pool_server_join(&pool, &servers[n], NOW);
		pool_release(&servers[n++], NOW);
	}
	assert_int_equal(n, 3);
	assert_int_equal(pool_server_count(&pool), 3);
}

static void servers_in_every_state_count_against_the_size(void **state)
{
	(void)state;
	pool.settings.size = 4;
	have_idle(4);
	pool_server_enter(&servers[0], POOL_SERVER_ACTIVE);
	pool_server_enter(&servers[1], POOL_SERVER_BEING_CANCELED);
	pool_server_enter(&servers[2], POOL_SERVER_TESTED);
	pool_server_enter(&servers[3], POOL_SERVER_ACTIVE);
	acquire(0, NOW);
	acquire(1, NOW);
	assert_false(wants(NOW));
	pool_server_leave(&servers[1], NOW);
	assert_true(wants(NOW));
}

static void a_size_of_zero_sets_no_bound(void **state)
{
	(void)state;
	pool.settings.size = 0;
	pool.settings.connect_parallel = 100;
	pool_was_let_in(&pool, NOW, NOW);
	for (unsigned i = 0; i < 12; i++)
		acquire(i, NOW);
	assert_int_equal(fill(0, NOW), 12);
}

static void a_login_wants_the_first_server_and_no_more(void **state)
{
	(void)state;
	pool.nclients = 0;
	pool_await_login(&pool, &clients[0], NOW);
	pool_await_login(&pool, &clients[1], NOW);
	assert_int_equal(pool.nlogins, 2);
	assert_int_equal(pool.nwaiting, 0);
	assert_int_equal(fill(0, NOW), 1);
	/* The server that is ready goes to nobody: they wait for what it told, not for it. */
	assert_null(pool_release(&servers[0], NOW));
	assert_int_equal(pool.nlogins, 2);
	pool_forget(&clients[0]);
	pool_forget(&clients[1]);
	assert_int_equal(pool.nlogins, 0);
	assert_false(clients[0].is_for_login);
}

static void the_pool_is_kept_at_its_minimum_while_it_has_clients(void **state)
{
	(void)state;
	pool.settings.min_size = 3;
	pool.nclients = 0;
	assert_false(wants(NOW));
	pool.nclients = 1;
	assert_int_equal(fill(0, NOW), 3);
	pool_server_leave(&servers[0], NOW);
	assert_true(wants(NOW));
	pool.nclients = 0;
	assert_false(wants(NOW));
}

static void a_forced_users_pool_is_kept_at_its_minimum_without_clients(void **state)
{
	(void)state;
	pool.settings.min_size = 2;
	pool.settings.is_forced_user = true;
	pool.nclients = 0;
	assert_int_equal(fill(0, NOW), 2);
}

static void a_pool_that_has_had_a_server_is_kept_at_its_minimum_without_clients(void **state)
{
	(void)state;
	pool.settings.min_size = 2;
	pool.nclients = 0;
	assert_false(wants(NOW));
	pool.is_known = true;
	assert_int_equal(fill(0, NOW), 2);
}

static void a_login_alone_keeps_the_pool_at_its_minimum(void **state)
{
	(void)state;
	pool.settings.min_size = 3;
	pool.nclients = 0;
	pool_await_login(&pool, &clients[0], NOW);
	assert_int_equal(fill(0, NOW), 3);
}

static void the_minimum_is_filled_only_in_parallel_bounds(void **state)
{
	(void)state;
	pool.settings.min_size = 5;
	pool.settings.connect_parallel = 2;
	assert_int_equal(fill(0, NOW), 2);
}

static void a_paused_or_dead_pool_wants_and_gives_nothing(void **state)
{
	(void)state;
	pool.settings.min_size = 3;
	have_idle(1);
	pool.is_paused = true;
	assert_int_equal(acquire(0, NOW), POOL_QUEUED);
	acquire(1, NOW);
	assert_false(wants(NOW));
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
	pool_server_enter(&servers[0], POOL_SERVER_ACTIVE);
	assert_null(pool_release(&servers[0], NOW));
	assert_counts(0, 1, 0, 0, 0);
	pool.is_paused = false;
	pool.is_dead = true;
	assert_false(wants(NOW));
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
}

static void after_a_failure_nothing_is_opened_before_its_time(void **state)
{
	(void)state;
	acquire(0, NOW);
	pool.backoff.retry_at = NOW + 15 * SECOND;
	assert_false(wants(NOW));
	assert_false(wants(NOW + 15 * SECOND - 1));
	assert_int_equal(pool_wakes_at(&pool, NOW), NOW + 15 * SECOND);
	assert_true(wants(NOW + 15 * SECOND));
	pool_forget(&clients[0]);
	/* Nobody needs it: there is nothing to wake up for. */
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
}

static void a_client_just_sent_away_wants_the_first_server_for_a_while(void **state)
{
	(void)state;
	pool.nclients = 0;
	pool.wanted_until = NOW + 15 * SECOND;
	assert_false(wants(NOW + 15 * SECOND));
	assert_true(pool_has_need(&pool, NOW));
	assert_int_equal(fill(0, NOW), 1);
	assert_null(pool_release(&servers[0], NOW));
	assert_false(pool_has_need(&pool, NOW));
}

static void a_need_is_of_clients_only(void **state)
{
	(void)state;
	pool.settings.min_size = 3;
	assert_true(wants(NOW));
	assert_false(pool_has_need(&pool, NOW));
	acquire(0, NOW);
	assert_true(pool_has_need(&pool, NOW));
	pool_server_join(&pool, &servers[0], NOW);
	/* The one on its way is his; the rest is the minimum again. */
	assert_false(pool_has_need(&pool, NOW));
	assert_true(wants(NOW));
}

static void a_login_needs_a_server_that_is_new(void **state)
{
	(void)state;
	have_active(1);
	pool_await_login(&pool, &clients[0], NOW);
	assert_true(pool_has_need(&pool, NOW));
	pool_server_join(&pool, &servers[1], NOW);
	assert_false(pool_has_need(&pool, NOW));
}

static void a_failure_wakes_the_pool_for_its_minimum_too(void **state)
{
	(void)state;
	pool.settings.min_size = 1;
	pool.backoff.retry_at = NOW + SECOND;
	assert_int_equal(pool_wakes_at(&pool, NOW), NOW + SECOND);
	assert_int_equal(pool_wakes_at(&pool, NOW + SECOND), 0);
	assert_true(wants(NOW + SECOND));
}

static void a_pool_is_over_its_size_when_that_has_been_lowered(void **state)
{
	(void)state;
	pool.settings.size = 3;
	pool.settings.reserve_size = 1;
	have_active(4);
	assert_false(pool_is_over_size(&pool));
	pool.settings.size = 2;
	assert_true(pool_is_over_size(&pool));
	pool.settings.reserve_size = 2;
	assert_false(pool_is_over_size(&pool));
	pool.settings.size = 1;
	assert_true(pool_is_over_size(&pool));
	/* One that goes as soon as another has come. */
	pool.nretiring = 1;
	assert_false(pool_is_over_size(&pool));
	pool.nretiring = 0;
	/* No bound. */
	pool.settings.size = 0;
	assert_false(pool_is_over_size(&pool));
}

/* ------------------------------------------------------------------ why those who wait have to */

static enum pool_hold hold(uint64_t now)
{
	return pool_own_hold(&pool, now);
}

static void who_does_not_wait_is_not_held(void **state)
{
	(void)state;
	assert_int_equal(hold(NOW), HOLD_NONE);
	have_active(5);
	assert_int_equal(hold(NOW), HOLD_NONE);
}

static void what_the_pool_would_open_is_not_held_by_itself(void **state)
{
	(void)state;
	acquire(0, NOW);
	assert_true(wants(NOW));
	assert_int_equal(hold(NOW), HOLD_NONE);
}

static void each_hold_is_told_by_its_name(void **state)
{
	(void)state;
	acquire(0, NOW);
	pool.is_paused = true;
	assert_int_equal(hold(NOW), HOLD_PAUSED);
	pool.is_paused = false;
	pool.backoff.retry_at = NOW + SECOND;
	assert_int_equal(hold(NOW), HOLD_RETRY);
	assert_int_equal(hold(NOW + SECOND), HOLD_NONE);
	pool.backoff.retry_at = 0;
	pool_server_join(&pool, &servers[0], NOW);
	assert_int_equal(hold(NOW), HOLD_LOGIN);
	pool.settings.connect_parallel = 1;
	acquire(1, NOW);
	assert_int_equal(hold(NOW), HOLD_CONNECTS);
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[0]);
	pool.settings.size = 1;
	assert_int_equal(hold(NOW), HOLD_POOL_SIZE);
	pool_server_enter(&servers[0], POOL_SERVER_TESTED);
	assert_int_equal(hold(NOW), HOLD_CHECK);
}

static void a_full_pool_holds_until_the_reserve_is_due(void **state)
{
	(void)state;
	pool.settings.size = 1;
	pool.settings.reserve_size = 1;
	pool.settings.reserve_timeout_us = 5 * SECOND;
	have_active(1);
	acquire(0, NOW);
	assert_int_equal(hold(NOW), HOLD_POOL_SIZE);
	assert_int_equal(hold(NOW + 5 * SECOND), HOLD_NONE);
	pool_server_join(&pool, &servers[1], NOW);
	acquire(1, NOW);
	assert_int_equal(hold(NOW + 5 * SECOND), HOLD_POOL_SIZE);
}

static void holds_have_words_and_texts(void **state)
{
	(void)state;
	assert_string_equal(pool_hold_word(HOLD_NONE), "");
	assert_string_equal(pool_hold_word(HOLD_MAX_ALL), "max_server_connections");
	assert_string_equal(pool_hold_text(HOLD_BREAKER), "the host is down");
	for (int i = HOLD_NONE + 1; i <= HOLD_NO_HOST; i++) {
		assert_true(strlen(pool_hold_word((enum pool_hold)i)) > 0);
		assert_true(strlen(pool_hold_text((enum pool_hold)i)) > 0);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(pool_hold_word((enum pool_hold)i), pool_hold_word((enum pool_hold)k));
	}
}

/* ------------------------------------------------------------------ the reserve */

static void have_full_pool_with_reserve(void)
{
	pool.settings.size = 2;
	pool.settings.reserve_size = 2;
	pool.settings.reserve_timeout_us = 5 * SECOND;
	have_active(2);
}

static void the_reserve_is_used_only_after_its_timeout(void **state)
{
	(void)state;
	have_full_pool_with_reserve();
	acquire(0, NOW);
	assert_false(wants(NOW));
	assert_false(wants(NOW + 5 * SECOND - 1));
	assert_int_equal(pool_wakes_at(&pool, NOW), NOW + 5 * SECOND);
	assert_true(wants(NOW + 5 * SECOND));
	assert_true(reserve);
}

static void the_reserve_has_its_own_bound(void **state)
{
	(void)state;
	have_full_pool_with_reserve();
	for (unsigned i = 0; i < 6; i++)
		acquire(i, NOW);
	assert_int_equal(fill(2, NOW + 10 * SECOND), 2);
	assert_int_equal(pool_server_count(&pool), 4);
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
}

static void the_reserve_serves_no_more_than_those_who_wait(void **state)
{
	(void)state;
	have_full_pool_with_reserve();
	acquire(0, NOW);
	assert_int_equal(fill(2, NOW + 10 * SECOND), 1);
}

static void below_its_size_the_pool_opens_no_reserve(void **state)
{
	(void)state;
	have_full_pool_with_reserve();
	acquire(0, NOW);
	pool_server_leave(&servers[1], NOW);
	assert_true(wants(NOW + 10 * SECOND));
	assert_false(reserve);
}

static void without_a_timeout_or_a_size_there_is_no_reserve(void **state)
{
	(void)state;
	have_full_pool_with_reserve();
	acquire(0, NOW);
	pool.settings.reserve_timeout_us = 0;
	assert_false(wants(NOW + 1000 * SECOND));
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
	pool.settings.reserve_timeout_us = 5 * SECOND;
	pool.settings.reserve_size = 0;
	assert_false(wants(NOW + 1000 * SECOND));
	assert_int_equal(pool_wakes_at(&pool, NOW), 0);
}

static void the_reserve_waits_for_the_first_in_line_not_for_the_last(void **state)
{
	(void)state;
	have_full_pool_with_reserve();
	acquire(0, NOW);
	acquire(1, NOW + 3 * SECOND);
	assert_true(wants(NOW + 5 * SECOND));
	pool_forget(&clients[0]);
	assert_false(wants(NOW + 5 * SECOND));
	assert_int_equal(pool_wakes_at(&pool, NOW + 5 * SECOND), NOW + 8 * SECOND);
}

/* ------------------------------------------------------------------ age */

/* A full pool at its minimum, which no client waits in. */
static void have_minimum(unsigned n)
{
	pool.settings.size = pool.settings.min_size = n;
	have_idle(n);
}

static void above_its_minimum_a_pool_lets_go_what_is_over_age(void **state)
{
	(void)state;
	have_idle(3);
	pool.settings.min_size = 2;
	assert_true(pool_server_retire(&servers[0]));
	assert_false(servers[0].is_retiring);
	pool_server_leave(&servers[0], NOW);
	assert_false(pool_server_retire(&servers[1]));
	assert_true(servers[1].is_retiring);
	assert_int_equal(pool.nretiring, 1);
}

static void a_pool_that_keeps_no_minimum_lets_go_what_is_over_age(void **state)
{
	(void)state;
	have_minimum(2);
	pool.nclients = 0;
	assert_true(pool_server_retire(&servers[0]));
	assert_int_equal(pool.nretiring, 0);
}

static void at_its_minimum_another_is_opened_first_even_in_a_full_pool(void **state)
{
	(void)state;
	have_minimum(2);
	assert_false(wants(NOW));
	assert_false(pool_server_retire(&servers[0]));
	assert_true(wants(NOW));
	assert_false(reserve);
	assert_int_equal(fill(2, NOW), 1);
	assert_int_equal(pool_server_count(&pool), 3);
}

static void one_is_replaced_at_a_time(void **state)
{
	(void)state;
	have_minimum(3);
	assert_false(pool_server_retire(&servers[0]));
	assert_false(pool_server_retire(&servers[1]));
	assert_false(pool_server_retire(&servers[0]));
	assert_true(servers[0].is_retiring);
	assert_false(servers[1].is_retiring);
	assert_int_equal(pool.nretiring, 1);
	assert_int_equal(fill(3, NOW), 1);
}

static void when_the_other_is_there_the_one_over_age_goes(void **state)
{
	(void)state;
	have_minimum(2);
	pool_server_retire(&servers[0]);
	assert_int_equal(fill(2, NOW), 1);
	assert_null(pool_release(&servers[2], NOW));
	assert_true(pool_server_retire(&servers[0]));
	pool_server_leave(&servers[0], NOW);
	assert_int_equal(pool.nretiring, 0);
	assert_int_equal(pool_server_count(&pool), 2);
	assert_false(wants(NOW));
}

/* "closed as soon as there is another in its place" */
static void before_the_other_has_logged_in_the_one_over_age_stays(void **state)
{
	(void)state;
	have_minimum(1);
	assert_false(pool_server_retire(&servers[0]));
	assert_int_equal(fill(1, NOW), 1);
	/* Its time is over again, or a client is done with it, while the other is connecting. */
	assert_false(pool_server_retire(&servers[0]));
}

static void one_that_retires_is_given_out_until_then(void **state)
{
	(void)state;
	have_minimum(1);
	pool_server_retire(&servers[0]);
	assert_int_equal(acquire(0, NOW), POOL_GRANTED);
	assert_ptr_equal(got, &servers[0]);
	assert_null(pool_release(got, NOW));
}

static void one_that_breaks_while_it_retires_makes_room_for_another(void **state)
{
	(void)state;
	have_minimum(2);
	pool_server_retire(&servers[0]);
	pool_server_leave(&servers[0], NOW);
	assert_int_equal(pool.nretiring, 0);
	assert_int_equal(fill(2, NOW), 1);
	assert_int_equal(pool_server_count(&pool), 2);
	assert_false(pool_server_retire(&servers[1]));
}

static void one_that_retires_gives_no_client_more_room(void **state)
{
	(void)state;
	have_minimum(2);
	pool_server_retire(&servers[0]);
	for (unsigned i = 0; i < 6; i++)
		acquire(i, NOW);
	assert_int_equal(fill(2, NOW), 1);
	assert_int_equal(pool_server_count(&pool), 3);
}

static void without_the_minimum_one_that_retires_makes_no_room(void **state)
{
	(void)state;
	have_minimum(2);
	pool_server_retire(&servers[0]);
	/* A reload. */
	pool.settings.min_size = 1;
	acquire(0, NOW);
	acquire(1, NOW);
	acquire(2, NOW);
	assert_false(wants(NOW));
}

/* ------------------------------------------------------------------ queues of pools */

static void a_pool_waits_in_one_queue_at_a_time(void **state)
{
	struct pool_queue one, other;

	(void)state;
	TAILQ_INIT(&one);
	TAILQ_INIT(&other);
	pool_block(&pool, &one);
	assert_ptr_equal(pool.blocked_in, &one);
	assert_ptr_equal(TAILQ_FIRST(&one), &pool);
	pool_block(&pool, &other);
	assert_ptr_equal(pool.blocked_in, &other);
	assert_true(TAILQ_EMPTY(&one));
	assert_ptr_equal(TAILQ_FIRST(&other), &pool);
	pool_unblock(&pool);
	pool_unblock(&pool);
	assert_null(pool.blocked_in);
	assert_true(TAILQ_EMPTY(&other));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* --- working_size --- */

static void beyond_the_working_size_clients_wait_though_servers_are_idle(void **state)
{
	(void)state;
	have_idle(4);
	pool.working_size = 2;
	assert_int_equal(acquire(0, NOW), POOL_GRANTED);
	assert_int_equal(acquire(1, NOW), POOL_GRANTED);
	assert_int_equal(acquire(2, NOW), POOL_QUEUED);
	assert_false(wants(NOW));
	assert_int_equal(pool_own_hold(&pool, NOW), HOLD_POOL_SIZE_MODE);
	assert_null(pool_serve(&pool, NOW, &got));
}

static void who_waits_gets_what_is_given_back_within_the_working_size(void **state)
{
	struct pool_server *first, *second;

	(void)state;
	have_idle(3);
	pool.working_size = 2;
	acquire(0, NOW);
	first = got;
	acquire(1, NOW);
	second = got;
	acquire(2, NOW);
	acquire(3, NOW);
	assert_ptr_equal(pool_release(first, NOW), &clients[2]);
	pool.working_size = 1;
	assert_null(pool_release(first, NOW));
	assert_ptr_equal(pool_release(second, NOW), &clients[3]);
}

static void when_the_working_size_grows_the_idle_ones_serve(void **state)
{
	(void)state;
	have_idle(2);
	pool.working_size = 1;
	acquire(0, NOW);
	acquire(1, NOW);
	pool.working_size = 2;
	assert_ptr_equal(pool_serve(&pool, NOW, &got), &clients[1]);
}

static void no_more_are_opened_than_the_working_size_lets_clients_hold(void **state)
{
	(void)state;
	pool.working_size = 2;
	for (unsigned i = 0; i < 4; i++)
		acquire(i, NOW);
	assert_int_equal(fill(0, NOW), 2);
	assert_ptr_equal(pool_release(&servers[0], NOW), &clients[0]);
	assert_ptr_equal(pool_release(&servers[1], NOW), &clients[1]);
	assert_false(wants(NOW));
}

static void the_reserve_is_for_the_whole_pool_size_only(void **state)
{
	(void)state;
	pool.settings.reserve_size = 2;
	pool.settings.reserve_timeout_us = SECOND;
	pool.working_size = 2;
	have_active(2);
	acquire(0, NOW);
	assert_false(wants(NOW + 2 * SECOND));
	pool.working_size = 5;
	assert_true(wants(NOW));
	pool_server_join(&pool, &servers[2], NOW);
	pool_server_join(&pool, &servers[3], NOW);
	pool_server_join(&pool, &servers[4], NOW);
	for (unsigned i = 2; i < 5; i++)
		pool_server_enter(&servers[i], POOL_SERVER_ACTIVE);
	assert_true(wants(NOW + 2 * SECOND));
	assert_true(reserve);
}

static void the_minimum_is_opened_whatever_the_working_size(void **state)
{
	(void)state;
	pool.settings.min_size = 3;
	pool.working_size = 1;
	assert_int_equal(fill(0, NOW), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_idle_server_is_granted_at_once),
		TEST(a_pool_whose_clients_hold_all_that_it_may_have_is_busy),
		TEST(a_pool_with_a_reserve_or_an_idle_server_is_not_busy),
		TEST(without_an_idle_server_the_client_waits),
		TEST(who_is_served_at_once_is_a_hit_and_who_waits_is_a_miss),
		TEST(a_pool_that_has_never_served_has_no_histograms),
		TEST(waiting_clients_are_served_in_order_of_arrival),
		TEST(nobody_overtakes_those_who_wait),
		TEST(one_who_gives_up_is_passed_over),
		TEST(the_server_used_last_is_taken_first),
		TEST(round_robin_takes_the_server_idle_for_longest),
		TEST(a_waiting_client_is_given_a_new_server_when_it_is_ready),
		TEST(resumed_servers_go_to_those_who_wait),
		TEST(a_server_idle_for_too_long_is_checked_first),
		TEST(without_a_check_query_no_server_is_checked),
		TEST(each_who_waits_for_a_check_has_a_server_of_his_own_checked),
		TEST(every_server_is_counted_where_it_stands),
		TEST(a_server_that_leaves_while_idle_is_never_granted),
		TEST(waits_and_assignments_are_counted),
		TEST(the_longest_wait_is_that_of_the_first_in_line),
		TEST(nobody_waits_and_nothing_is_wanted),
		TEST(each_who_waits_wants_a_server_that_is_not_coming_yet),
		TEST(only_so_many_connect_at_a_time),
		TEST(one_login_opens_the_door_for_as_many_as_may_connect),
		TEST(a_login_proves_nothing_after_a_second),
		TEST(a_login_still_proves_something_within_a_second),
		TEST(an_attempt_that_comes_to_nothing_closes_the_door),
		TEST(only_a_login_that_began_after_the_failure_opens_it_again),
		TEST(a_server_that_is_lost_young_closes_the_door_too),
		TEST(fewer_than_the_first_ones_is_the_bound_in_any_case),
		TEST(the_pool_is_never_larger_than_its_size),
		TEST(servers_in_every_state_count_against_the_size),
		TEST(a_size_of_zero_sets_no_bound),
		TEST(a_login_wants_the_first_server_and_no_more),
		TEST(the_pool_is_kept_at_its_minimum_while_it_has_clients),
		TEST(a_forced_users_pool_is_kept_at_its_minimum_without_clients),
		TEST(a_pool_that_has_had_a_server_is_kept_at_its_minimum_without_clients),
		TEST(a_login_alone_keeps_the_pool_at_its_minimum),
		TEST(the_minimum_is_filled_only_in_parallel_bounds),
		TEST(a_paused_or_dead_pool_wants_and_gives_nothing),
		TEST(after_a_failure_nothing_is_opened_before_its_time),
		TEST(a_client_just_sent_away_wants_the_first_server_for_a_while),
		TEST(a_need_is_of_clients_only),
		TEST(a_login_needs_a_server_that_is_new),
		TEST(a_failure_wakes_the_pool_for_its_minimum_too),
		TEST(a_pool_is_over_its_size_when_that_has_been_lowered),
		TEST(who_does_not_wait_is_not_held),
		TEST(what_the_pool_would_open_is_not_held_by_itself),
		TEST(each_hold_is_told_by_its_name),
		TEST(a_full_pool_holds_until_the_reserve_is_due),
		TEST(holds_have_words_and_texts),
		TEST(the_reserve_is_used_only_after_its_timeout),
		TEST(the_reserve_has_its_own_bound),
		TEST(the_reserve_serves_no_more_than_those_who_wait),
		TEST(below_its_size_the_pool_opens_no_reserve),
		TEST(without_a_timeout_or_a_size_there_is_no_reserve),
		TEST(the_reserve_waits_for_the_first_in_line_not_for_the_last),
		TEST(above_its_minimum_a_pool_lets_go_what_is_over_age),
		TEST(a_pool_that_keeps_no_minimum_lets_go_what_is_over_age),
		TEST(at_its_minimum_another_is_opened_first_even_in_a_full_pool),
		TEST(one_is_replaced_at_a_time),
		TEST(when_the_other_is_there_the_one_over_age_goes),
		TEST(before_the_other_has_logged_in_the_one_over_age_stays),
		TEST(one_that_retires_is_given_out_until_then),
		TEST(one_that_breaks_while_it_retires_makes_room_for_another),
		TEST(one_that_retires_gives_no_client_more_room),
		TEST(without_the_minimum_one_that_retires_makes_no_room),
		TEST(a_pool_waits_in_one_queue_at_a_time),
		TEST(beyond_the_working_size_clients_wait_though_servers_are_idle),
		TEST(who_waits_gets_what_is_given_back_within_the_working_size),
		TEST(when_the_working_size_grows_the_idle_ones_serve),
		TEST(no_more_are_opened_than_the_working_size_lets_clients_hold),
		TEST(the_reserve_is_for_the_whole_pool_size_only),
		TEST(the_minimum_is_opened_whatever_the_working_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
