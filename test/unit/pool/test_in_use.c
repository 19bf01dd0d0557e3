#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "pool/in_use.h"

static struct pools_in_use all;
static struct pool pools[2];
static struct pool_server servers[4];
static unsigned nfirst, npool;
static uint64_t began;

static void on_first(void *arg)
{
	(void)arg;
	nfirst++;
}

static void on_pool(void *arg, struct pool *pool)
{
	(void)arg;
	assert_true(pool->is_in_use);
	npool++;
}

/* The full second that is so many after the beginning. */
static uint64_t second(unsigned n)
{
	return (began / CLOCK_SECOND + n) * CLOCK_SECOND;
}

static int set_up(void **state)
{
	(void)state;
	memset(servers, 0, sizeof(servers));
	nfirst = npool = 0;
	began = clock_us();
	in_use_init(&all);
	all.on_first = on_first;
	all.on_pool = on_pool;
	for (size_t i = 0; i < 2; i++) {
		pool_init(&pools[i], NULL, NULL);
		pools[i].settings.connect_parallel = 4;
		in_use_join(&all, &pools[i], began);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		in_use_leave(&pools[i]);
		pool_fini(&pools[i]);
	}
	return 0;
}

static void hold(struct pool *pool, struct pool_server *s)
{
	if (s->pool == NULL)
		pool_server_join(pool, s, began);
	pool_server_enter(s, POOL_SERVER_ACTIVE);
}

static struct concurrency told(const struct pool *pool, unsigned after)
{
	return in_use_concurrency(pool, second(after));
}

static void a_pool_is_in_use_while_clients_hold_servers_of_it_and_up_to_the_next_sample(void **state)
{
	(void)state;
	assert_false(in_use_sample(&all, second(1)));
	hold(&pools[0], &servers[0]);
	assert_true(pools[0].is_in_use);
	assert_false(pools[1].is_in_use);
	assert_true(in_use_sample(&all, second(1)));
	pool_release(&servers[0], began);
	assert_true(pools[0].is_in_use);
	assert_false(in_use_sample(&all, second(2)));
	assert_false(pools[0].is_in_use);
}

static void servers_that_log_in_and_rest_are_no_use(void **state)
{
	(void)state;
	pool_server_join(&pools[0], &servers[0], began);
	assert_false(pools[0].is_in_use);
	pool_release(&servers[0], began);
	assert_false(pools[0].is_in_use);
}

static void who_looks_is_told_of_each_pool_once_and_when_there_were_none(void **state)
{
	(void)state;
	hold(&pools[0], &servers[0]);
	hold(&pools[0], &servers[1]);
	hold(&pools[1], &servers[2]);
	assert_int_equal(nfirst, 1);
	assert_int_equal(npool, 2);
	pool_release(&servers[2], began);
	in_use_sample(&all, second(1));
	hold(&pools[1], &servers[2]);
	assert_int_equal(nfirst, 1);
	assert_int_equal(npool, 3);
}

static void what_is_held_is_sampled_each_second(void **state)
{
	(void)state;
	hold(&pools[0], &servers[0]);
	in_use_sample(&all, second(1));
	hold(&pools[0], &servers[1]);
	in_use_sample(&all, second(2));
	in_use_sample(&all, second(2) + 5);
	assert_int_equal(told(&pools[0], 2).nsamples, 2);
	assert_int_equal(told(&pools[0], 2).sum, 3);
}

static void seconds_without_use_count_as_well(void **state)
{
	(void)state;
	assert_int_equal(told(&pools[1], 100).nsamples, 100);
	hold(&pools[0], &servers[0]);
	in_use_sample(&all, second(1));
	pool_release(&servers[0], began);
	in_use_sample(&all, second(2));
	assert_int_equal(told(&pools[0], 2).nsamples, 2);
	assert_int_equal(told(&pools[0], 50).nsamples, 50);
	assert_int_equal(told(&pools[0], 50).sum, 1);
}

/* The clock of the test stands still: the pool comes into use again in the second in which it began. */
static void coming_into_use_makes_up_for_what_was_missed(void **state)
{
	(void)state;
	pools[0].concurrency.seconds -= 30;
	hold(&pools[0], &servers[0]);
	assert_int_equal(pools[0].concurrency.nsamples, 30);
	in_use_sample(&all, second(1));
	assert_int_equal(told(&pools[0], 1).nsamples, 31);
	assert_int_equal(told(&pools[0], 1).sum, 1);
}

static void waiting_counts_only_where_more_servers_would_help(void **state)
{
	struct pool_client client = {0};
	struct pool_server *got;

	(void)state;
	hold(&pools[0], &servers[0]);
	assert_int_equal(pool_acquire(&pools[0], &client, began, &got), POOL_QUEUED);
	in_use_sample(&all, second(1));
	assert_int_equal(told(&pools[0], 1).nwaited, 1);
	pool_server_join(&pools[0], &servers[1], began);
	in_use_sample(&all, second(2));
	assert_int_equal(told(&pools[0], 2).nwaited, 1);
	pool_server_leave(&servers[1], began);
	pools[0].is_paused = true;
	in_use_sample(&all, second(3));
	assert_int_equal(told(&pools[0], 3).nwaited, 1);
	pool_forget(&client);
}

static void a_pool_that_goes_is_forgotten(void **state)
{
	(void)state;
	hold(&pools[0], &servers[0]);
	hold(&pools[1], &servers[1]);
	in_use_leave(&pools[0]);
	assert_true(in_use_sample(&all, second(1)));
	in_use_leave(&pools[1]);
	assert_false(in_use_sample(&all, second(2)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_pool_is_in_use_while_clients_hold_servers_of_it_and_up_to_the_next_sample),
		TEST(servers_that_log_in_and_rest_are_no_use),
		TEST(who_looks_is_told_of_each_pool_once_and_when_there_were_none),
		TEST(what_is_held_is_sampled_each_second),
		TEST(seconds_without_use_count_as_well),
		TEST(coming_into_use_makes_up_for_what_was_missed),
		TEST(waiting_counts_only_where_more_servers_would_help),
		TEST(a_pool_that_goes_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
