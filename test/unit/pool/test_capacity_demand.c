#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "pool/capacity_demand.h"

#include "../report/fixture.h"

static struct capacity_demand demand;

static uint64_t limit_at(const char *name)
{
	const struct hosts *hosts = registry_hosts(hub.registry);

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h)) {
		if (strcmp(h->name->text, name) != 0)
			continue;
		capacity_demand_find(hub.registry, h, &demand);
		return demand.limit;
	}
	fail_msg("no host %s", name);
	return 0;
}

static uint64_t limit_of(const char *databases, const char *settings)
{
	char ini[1000];

	snprintf(ini, sizeof(ini), "[databases]\n%s[users]\nslim = pool_size=3\nfew = max_user_connections=5\n[pgbouncer]\n%s",
		 databases, settings);
	fixture_open(ini);
	return limit_at("h");
}

static int close_hub(void **state)
{
	(void)state;
	fixture_close();
	return 0;
}

static void a_database_without_pools_counts_as_one(void **state)
{
	(void)state;
	assert_int_equal(limit_of("a = host=h\n", ""), 20);
	assert_int_equal(demand.npools, 1);
	assert_ptr_equal(demand.per_user, registry_find_database(hub.registry, SLICE_LIT("a")));
}

static void a_forced_users_settings_count_before_he_is_there(void **state)
{
	(void)state;
	assert_int_equal(limit_of("a = host=h user=slim\n", ""), 3);
	assert_null(demand.per_user);
}

static void the_reserve_counts_unless_it_is_never_used(void **state)
{
	(void)state;
	assert_int_equal(limit_of("a = host=h pool_size=5 reserve_pool_size=2\n", ""), 7);
	fixture_close();
	assert_int_equal(limit_of("a = host=h pool_size=5 reserve_pool_size=2\n", "reserve_pool_timeout=0\n"), 5);
}

static void pools_that_are_there_add_up(void **state)
{
	(void)state;
	limit_of("a = host=h pool_size=5\nb = host=h pool_size=6\n", "");
	fixture_pool("a", "ann");
	fixture_pool("a", "bob");
	fixture_pool("b", "slim");
	assert_int_equal(limit_at("h"), 13);
	assert_int_equal(demand.npools, 3);
}

static void other_hosts_do_not_count(void **state)
{
	(void)state;
	assert_int_equal(limit_of("a = host=h pool_size=5\nb = host=other pool_size=6\n", ""), 5);
	assert_int_equal(limit_at("other"), 6);
}

static void each_of_several_hosts_may_have_to_take_all(void **state)
{
	(void)state;
	assert_int_equal(limit_of("a = host=h,i pool_size=5\n", ""), 5);
	assert_int_equal(limit_at("i"), 5);
}

static void a_databases_bound_holds_over_its_pools(void **state)
{
	(void)state;
	limit_of("a = host=h pool_size=5 max_db_connections=8\nb = host=h pool_size=2\n", "");
	assert_ptr_equal(demand.per_user, registry_find_database(hub.registry, SLICE_LIT("b")));
	fixture_pool("a", "ann");
	fixture_pool("a", "bob");
	assert_int_equal(limit_at("h"), 10);
}

static void a_users_bound_holds_over_databases(void **state)
{
	(void)state;
	limit_of("a = host=h pool_size=4\nb = host=h pool_size=4\n", "");
	fixture_pool("a", "few");
	fixture_pool("b", "few");
	assert_int_equal(limit_at("h"), 5);
	fixture_pool("b", "ann");
	assert_int_equal(limit_at("h"), 9);
}

static void a_bound_over_all_holds_and_bounds_users_too(void **state)
{
	(void)state;
	assert_int_equal(limit_of("a = host=h\nb = host=h\n", "max_server_connections=30\n"), 30);
	assert_null(demand.per_user);
}

static void no_pool_size_is_no_bound_unless_another_is_set(void **state)
{
	(void)state;
	assert_true(limit_of("a = host=h pool_size=0\nb = host=h\n", "") == CAPACITY_UNBOUNDED);
	fixture_pool("a", "ann");
	assert_true(limit_at("h") == CAPACITY_UNBOUNDED);
	fixture_close();
	assert_int_equal(limit_of("a = host=h pool_size=0 max_db_connections=7\n", ""), 7);
}

static void a_removed_database_counts_no_more(void **state)
{
	(void)state;
	limit_of("a = host=h pool_size=5\nb = host=h pool_size=6\n", "");
	fixture_pool("b", "ann");
	registry_reload(hub.registry, fixture_conf("[databases]\na = host=h pool_size=5\n[pgbouncer]\n"));
	assert_int_equal(limit_at("h"), 5);
}

static void what_was_measured_adds_up(void **state)
{
	struct pool *ann, *bob;

	(void)state;
	limit_of("a = host=h\n", "");
	ann = fixture_pool("a", "ann");
	bob = fixture_pool("a", "bob");
	fixture_pool("a", "cat");
	for (unsigned i = 0; i < CONCURRENCY_ENOUGH; i++) {
		concurrency_note(&ann->concurrency, 4, false);
		concurrency_note(&bob->concurrency, 7, false);
	}
	limit_at("h");
	assert_int_equal(demand.need, 11);
	assert_int_equal(demand.nmeasured, 2);
	assert_int_equal(demand.max_need, 7);
	assert_int_equal(demand.npools, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_hub)
	const struct CMUnitTest tests[] = {
		TEST(a_database_without_pools_counts_as_one),
		TEST(a_forced_users_settings_count_before_he_is_there),
		TEST(the_reserve_counts_unless_it_is_never_used),
		TEST(pools_that_are_there_add_up),
		TEST(other_hosts_do_not_count),
		TEST(each_of_several_hosts_may_have_to_take_all),
		TEST(a_databases_bound_holds_over_its_pools),
		TEST(a_users_bound_holds_over_databases),
		TEST(a_bound_over_all_holds_and_bounds_users_too),
		TEST(no_pool_size_is_no_bound_unless_another_is_set),
		TEST(a_removed_database_counts_no_more),
		TEST(what_was_measured_adds_up),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
