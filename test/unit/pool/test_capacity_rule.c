#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "pool/capacity_rule.h"

static struct capacity_facts facts;
static struct capacity_verdict verdict;

/* 100 slots, 3 of them reserved; one pool of 20, nobody there. */
static int set_up(void **state)
{
	(void)state;
	facts = (struct capacity_facts){
		.max_connections = 103,
		.reserved = 3,
		.knows_own = true,
		.instances = 1,
		.demand = {.limit = 20, .npools = 1},
	};
	return 0;
}

static enum capacity_state judged(void)
{
	capacity_judge(&facts, &verdict);
	return verdict.state;
}

static enum capacity_state with_limit(uint64_t limit)
{
	facts.demand.limit = limit;
	return judged();
}

static void assert_advice(const char *expected)
{
	struct strbuf advice;

	strbuf_init(&advice);
	strbuf_add_str(&advice, "");
	capacity_judge(&facts, &verdict);
	capacity_advise(&facts, &verdict, &advice);
	assert_string_equal(advice.p, expected);
	strbuf_fini(&advice);
}

static void limits_times_instances_are_held_against_the_usable_slots(void **state)
{
	(void)state;
	facts.instances = 4;
	assert_int_equal(judged(), CAPACITY_OK);
	assert_int_equal(verdict.usable, 100);
	assert_int_equal(verdict.needed, 80);
	assert_int_equal(verdict.percent, 80);
	facts.instances = 5;
	assert_int_equal(judged(), CAPACITY_WARNING);
	facts.instances = 6;
	assert_int_equal(judged(), CAPACITY_OVER);
}

static void from_85_percent_on_it_warns(void **state)
{
	(void)state;
	assert_int_equal(with_limit(84), CAPACITY_OK);
	assert_int_equal(with_limit(85), CAPACITY_WARNING);
	assert_int_equal(with_limit(100), CAPACITY_WARNING);
	assert_int_equal(with_limit(101), CAPACITY_OVER);
}

static void a_percentage_is_rounded_up_so_that_100_is_all_that_fits(void **state)
{
	(void)state;
	facts.max_connections = 1003;
	assert_int_equal(with_limit(1000), CAPACITY_WARNING);
	assert_int_equal(with_limit(1001), CAPACITY_OVER);
	assert_int_equal(verdict.percent, 101);
}

static void large_numbers_do_not_overflow(void **state)
{
	(void)state;
	facts.instances = 100000;
	assert_int_equal(with_limit(INT32_MAX), CAPACITY_OVER);
	assert_true(verdict.percent == UINT64_C(100000) * INT32_MAX);
	assert_int_equal(with_limit(UINT64_C(100000) * INT32_MAX), CAPACITY_OVER);
	assert_true(verdict.percent == CAPACITY_UNBOUNDED);
}

static void without_a_bound_it_is_over(void **state)
{
	(void)state;
	facts.instances = 2;
	assert_int_equal(with_limit(CAPACITY_UNBOUNDED), CAPACITY_OVER);
	assert_true(verdict.needed == CAPACITY_UNBOUNDED);
	assert_true(verdict.percent == CAPACITY_UNBOUNDED);
	assert_advice("pools without a bound (pool_size = 0) may ask for any number of connections, the server takes 100; "
		      "let the pools of one instance have at most 42, with pool_size or max_db_connections, or raise "
		      "max_connections");
}

static void a_server_with_reserved_slots_only_is_over(void **state)
{
	(void)state;
	facts.reserved = 200;
	assert_int_equal(judged(), CAPACITY_OVER);
	assert_int_equal(verdict.usable, 0);
	assert_int_equal(verdict.recommended, 1);
}

static void a_server_that_refuses_is_over_whatever_the_numbers_say(void **state)
{
	(void)state;
	facts.is_full = true;
	assert_int_equal(judged(), CAPACITY_OVER);
	assert_advice("the server refuses connections, all its slots are taken");
}

static void others_are_those_that_poolers_do_not_have(void **state)
{
	(void)state;
	facts.in_use = 50;
	facts.own = 10;
	facts.instances = 3;
	judged();
	assert_int_equal(verdict.others, 20);
	facts.own = 20;
	judged();
	assert_int_equal(verdict.others, 0);
	facts.knows_own = false;
	facts.own = 0;
	judged();
	assert_int_equal(verdict.others, 0);
}

static void others_that_leave_no_room_are_a_warning_and_not_in_the_percentage(void **state)
{
	(void)state;
	facts.in_use = 80;
	assert_int_equal(judged(), CAPACITY_OK);
	facts.in_use = 81;
	assert_int_equal(judged(), CAPACITY_WARNING);
	assert_int_equal(verdict.percent, 20);
	assert_advice("81 connections of others leave no room for the 20 that pools may ask for, of 100");
}

static void what_is_well_needs_no_advice(void **state)
{
	(void)state;
	assert_advice("");
}

static void without_measurements_pools_have_equal_parts(void **state)
{
	(void)state;
	facts.demand.npools = 4;
	judged();
	assert_int_equal(verdict.share, 85);
	assert_int_equal(verdict.recommended, 21);
	facts.instances = 2;
	judged();
	assert_int_equal(verdict.recommended, 10);
	facts.demand.npools = 1000;
	judged();
	assert_int_equal(verdict.recommended, 1);
}

static void a_recommended_size_gives_no_warning(void **state)
{
	(void)state;
	for (facts.max_connections = 10; facts.max_connections < 500; facts.max_connections += 7)
		for (facts.instances = 1; facts.instances < 5; facts.instances++) {
			judged();
			with_limit(verdict.recommended);
			if (verdict.usable * CAPACITY_WARN_PERCENT / 100 / facts.instances > 1)
				assert_true(verdict.percent <= CAPACITY_WARN_PERCENT);
		}
}

static void what_was_measured_is_what_is_needed_while_it_fits(void **state)
{
	(void)state;
	facts.demand = (struct capacity_demand){.limit = 60, .npools = 3, .nmeasured = 2, .need = 40, .max_need = 30};
	judged();
	assert_int_equal(verdict.recommended, 30);
	assert_int_equal(capacity_recommend(&facts.demand, verdict.share, 10), 10);
}

static void what_does_not_fit_is_cut_in_proportion(void **state)
{
	(void)state;
	facts.demand = (struct capacity_demand){.limit = 60, .npools = 3, .nmeasured = 3, .need = 170, .max_need = 160};
	judged();
	assert_int_equal(verdict.share, 85);
	assert_int_equal(verdict.recommended, 80);
	assert_int_equal(capacity_recommend(&facts.demand, verdict.share, 8), 4);
	assert_int_equal(capacity_recommend(&facts.demand, verdict.share, 1), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		TEST(limits_times_instances_are_held_against_the_usable_slots),
		TEST(from_85_percent_on_it_warns),
		TEST(a_percentage_is_rounded_up_so_that_100_is_all_that_fits),
		TEST(large_numbers_do_not_overflow),
		TEST(without_a_bound_it_is_over),
		TEST(a_server_with_reserved_slots_only_is_over),
		TEST(a_server_that_refuses_is_over_whatever_the_numbers_say),
		TEST(others_are_those_that_poolers_do_not_have),
		TEST(others_that_leave_no_room_are_a_warning_and_not_in_the_percentage),
		TEST(what_is_well_needs_no_advice),
		TEST(without_measurements_pools_have_equal_parts),
		TEST(a_recommended_size_gives_no_warning),
		TEST(what_was_measured_is_what_is_needed_while_it_fits),
		TEST(what_does_not_fit_is_cut_in_proportion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
