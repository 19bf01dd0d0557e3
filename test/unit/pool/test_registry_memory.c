#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/registry.h"

#include "../conf/tempdir.h"
#include "../failing.h"

static struct registry *registry;
static unsigned nautomatic;

static bool welcome_pool(void *arg, struct pool *pool)
{
	(void)arg;
	(void)pool;
	return true;
}

static void see_off_pool(void *arg, struct pool *pool)
{
	(void)arg;
	(void)pool;
}

static bool welcome_user(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
	return true;
}

static void see_off_user(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
}

static void count_automatic(void *arg, struct database *db)
{
	(void)arg;
	(void)db;
	nautomatic++;
}

static const struct registry_hooks hooks = {
	.on_pool = welcome_pool,
	.on_pool_freed = see_off_pool,
	.on_user = welcome_user,
	.on_user_freed = see_off_user,
	.on_auto_database = count_automatic,
};

static int set_up(void **state)
{
	struct conf_problems problems;
	struct conf *conf;

	(void)state;
	conf_problems_init(&problems);
	conf = conf_load(tempdir_write("test.ini", "[databases]\n* = host=127.0.0.1\n[pgbouncer]\n"), NULL, 0, &problems);
	conf_problems_fini(&problems);
	registry = conf == NULL ? NULL : registry_new(conf, &hooks);
	nautomatic = 0;
	return registry == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	registry_free(registry);
	return atom_count() == 0 ? 0 : -1;
}

static unsigned count_databases(void)
{
	struct database *db = NULL;
	unsigned n = 0;

	while ((db = registry_next_database(registry, db)) != NULL)
		n++;
	return n;
}

/* For each allocation that making one takes: nothing is there when it has failed, and the next attempt succeeds. */

static void a_database_that_memory_is_out_for_is_refused_and_made_the_next_time(void **state)
{
	bool failed = true;

	(void)state;
	for (long n = 0; failed; n++) {
		char name[32];
		struct database *db;

		snprintf(name, sizeof(name), "db%ld", n);
		fail_after(n);
		db = registry_database(registry, slice_of(name));
		failed = has_failed();
		assert_true(failed == (db == NULL));
		assert_int_equal(count_databases(), n + (failed ? 0 : 1));
		assert_non_null(registry_database(registry, slice_of(name)));
		assert_int_equal(nautomatic, n + 1);
	}
	assert_true(nautomatic > 5);
}

static void a_user_that_memory_is_out_for_is_refused_and_made_the_next_time(void **state)
{
	bool failed = true;
	long n;

	(void)state;
	for (n = 0; failed; n++) {
		char name[32];
		struct user *user;

		snprintf(name, sizeof(name), "user%ld", n);
		fail_after(n);
		user = registry_user(registry, slice_of(name));
		failed = has_failed();
		assert_true(failed == (user == NULL));
		assert_true(failed == (registry_find_user(registry, slice_of(name)) == NULL));
		assert_non_null(registry_user(registry, slice_of(name)));
	}
	assert_true(n > 2);
}

static void a_pool_that_memory_is_out_for_is_refused_and_made_the_next_time(void **state)
{
	bool failed = true;
	long n;

	(void)state;
	for (n = 0; failed; n++) {
		char name[32];
		struct database *db;
		struct user *user;
		struct pool *pool;

		snprintf(name, sizeof(name), "n%ld", n);
		db = registry_database(registry, slice_of(name));
		user = registry_user(registry, slice_of(name));
		fail_after(n);
		pool = registry_pool(registry, db, user);
		failed = has_failed();
		assert_true(failed == (pool == NULL));
		assert_int_equal(registry_pool_count(registry), n + (failed ? 0 : 1));
		assert_int_equal(user->npools, failed ? 0 : 1);
		assert_non_null(registry_pool(registry, db, user));
	}
	assert_true(n > 2);
}

/* Tables grow now and then: a table that cannot is refused like the rest. */
static void a_table_that_cannot_grow_keeps_what_it_has(void **state)
{
	unsigned nrefused = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "user%d", i);
		/* The user, its name, and the third that only growing takes. */
		fail_after(2);
		nrefused += registry_user(registry, slice_of(name)) == NULL;
		has_failed();
		assert_non_null(registry_user(registry, slice_of(name)));
	}
	assert_true(nrefused > 0);
	for (int i = 0; i < 2000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "user%d", i);
		assert_non_null(registry_find_user(registry, slice_of(name)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_database_that_memory_is_out_for_is_refused_and_made_the_next_time, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_user_that_memory_is_out_for_is_refused_and_made_the_next_time, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_pool_that_memory_is_out_for_is_refused_and_made_the_next_time, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_table_that_cannot_grow_keeps_what_it_has, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, tempdir_enter_quietly, tempdir_leave);
}
