#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pool/applications.h"

static struct params *params;
static struct applications *apps;

static int set_up(void **state)
{
	const char *error;

	(void)state;
	params = params_new("", &error);
	apps = applications_new(params, 4);
	return params == NULL || apps == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	applications_free(&apps);
	params_free(params);
	return 0;
}

static struct paramset *set_named(const char *name)
{
	struct paramset *set = paramset_empty(params);

	assert_true(paramset_change(params, &set, (size_t)params_find(params, SLICE_LIT("application_name")), slice_of(name)));
	return set;
}

static void run(struct paramset *set, unsigned n)
{
	while (n-- > 0)
		applications_of(apps, set)->transactions++;
}

/* A client that comes, runs some transactions and leaves. */
static void visit(const char *name, unsigned n)
{
	struct paramset *set = set_named(name);

	run(set, n);
	paramset_unref(params, &set);
}

static uint64_t counted(const char *name)
{
	struct paramset *set = set_named(name);
	size_t i = applications_find(apps, set);

	paramset_unref(params, &set);
	return i == 0 ? 0 : apps->places[i].transactions;
}

static uint64_t sum(void)
{
	uint64_t total = 0;

	for (size_t i = 0; i <= apps->n; i++)
		total += apps->places[i].transactions;
	return total;
}

static void each_name_is_counted_by_itself(void **state)
{
	(void)state;
	visit("a", 3);
	visit("b", 2);
	visit("a", 4);
	visit("", 1);
	assert_int_equal(counted("a"), 7);
	assert_int_equal(counted("b"), 2);
	assert_int_equal(counted(""), 1);
	assert_int_equal(apps->places[0].transactions, 0);
}

static void no_name_is_the_same_as_an_empty_one(void **state)
{
	struct paramset *unset = paramset_empty(params);

	(void)state;
	run(unset, 2);
	paramset_unref(params, &unset);
	assert_int_equal(counted(""), 2);
}

static void the_mark_spares_the_look_up(void **state)
{
	struct paramset *set = set_named("a");

	(void)state;
	run(set, 1);
	assert_int_equal(paramset_mark(set)->place, 1);
	assert_ptr_equal(applications_of(apps, set), &apps->places[1]);
	paramset_unref(params, &set);
}

static void who_is_called_other_is_one_of_the_others(void **state)
{
	(void)state;
	visit("other", 100);
	assert_int_equal(apps->n, 0);
	assert_int_equal(apps->places[0].transactions, 100);
}

static void a_long_name_is_cut_as_postgresql_does(void **state)
{
	char name[200];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	visit(name, 1);
	assert_int_equal(apps->places[1].name->len, 63);
	name[100] = '\0';
	assert_int_equal(counted(name), 1);
}

static void the_place_of_the_name_with_the_fewest_goes_to_the_next(void **state)
{
	(void)state;
	visit("a", 5);
	visit("b", 3);
	visit("c", 2);
	visit("d", 4);
	visit("e", 1);
	assert_int_equal(apps->n, 4);
	assert_int_equal(counted("c"), 0);
	assert_int_equal(counted("e"), 1);
	assert_int_equal(apps->places[0].transactions, 2);
	assert_int_equal(sum(), 15);
}

static void ten_thousand_names_need_no_more_room_and_nothing_is_lost(void **state)
{
	struct paramset *steady = set_named("steady");
	char name[32];
	size_t atoms;

	(void)state;
	/* Those that are interned anyway. */
	visit("a", 1);
	visit("b", 1);
	visit("c", 1);
	atoms = atom_count();
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "random-%u", i);
		visit(name, 1);
		run(steady, 2);
	}
	assert_int_equal(apps->n, 4);
	assert_in_range(atom_count(), 1, atoms + 1);
	assert_int_equal(sum(), 30003);
	/* One that runs most is seen through all of it. */
	assert_in_range(counted("steady"), 19000, 20000);
	paramset_unref(params, &steady);
}

static void ten_thousand_names_at_once_are_counted_too(void **state)
{
	static struct paramset *sets[10000];
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "random-%u", i);
		sets[i] = set_named(name);
	}
	for (unsigned round = 0; round < 5; round++)
		for (unsigned i = 0; i < 10000; i++)
			run(sets[i], 1);
	assert_int_equal(sum(), 50000);
	/* One of them begins to run more than all the others. */
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 10000; i++)
			run(sets[i], 1);
		run(sets[77], 30000);
	}
	assert_int_equal(sum(), 250000);
	assert_in_range(counted("random-77"), 100000, 150000);
	for (unsigned i = 0; i < 10000; i++)
		paramset_unref(params, &sets[i]);
}

static void the_first_by_transactions_come_first(void **state)
{
	const struct application *order[4];

	(void)state;
	visit("a", 1);
	visit("b", 3);
	visit("c", 2);
	applications_sort(apps, order);
	assert_string_equal(order[0]->name->text, "b");
	assert_string_equal(order[1]->name->text, "c");
	assert_string_equal(order[2]->name->text, "a");
}

static void fewer_places_keep_the_first(void **state)
{
	struct paramset *d = set_named("d");

	(void)state;
	visit("a", 5);
	visit("b", 3);
	visit("c", 2);
	run(d, 4);
	assert_true(applications_resize(apps, 2));
	assert_int_equal(apps->n, 2);
	assert_int_equal(counted("a"), 5);
	assert_int_equal(apps->places[0].transactions, 5);
	/* It has been moved to another place. */
	run(d, 1);
	assert_int_equal(counted("d"), 5);
	assert_int_equal(sum(), 15);
	paramset_unref(params, &d);
}

static void without_places_all_are_others(void **state)
{
	struct paramset *a = set_named("a");

	(void)state;
	run(a, 5);
	assert_true(applications_resize(apps, 0));
	run(a, 100);
	assert_int_equal(apps->n, 0);
	assert_int_equal(apps->places[0].transactions, 105);
	assert_true(applications_resize(apps, 1));
	run(a, 100);
	assert_in_range(counted("a"), 50, 100);
	assert_int_equal(sum(), 205);
	paramset_unref(params, &a);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(each_name_is_counted_by_itself),
		CASE(no_name_is_the_same_as_an_empty_one),
		CASE(the_mark_spares_the_look_up),
		CASE(who_is_called_other_is_one_of_the_others),
		CASE(a_long_name_is_cut_as_postgresql_does),
		CASE(the_place_of_the_name_with_the_fewest_goes_to_the_next),
		CASE(ten_thousand_names_need_no_more_room_and_nothing_is_lost),
		CASE(ten_thousand_names_at_once_are_counted_too),
		CASE(the_first_by_transactions_come_first),
		CASE(fewer_places_keep_the_first),
		CASE(without_places_all_are_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
