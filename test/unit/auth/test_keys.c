#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/keys.h"

static struct keycache_id id_of(const char *user, const char *secret, const char *salt, int iterations)
{
	return (struct keycache_id){slice_of(user), slice_of(secret), slice_of(salt), iterations};
}

static void keys_are_found_by_all_that_made_them(void **state)
{
	const struct keycache_id id = id_of("ann", "secret", "salt", 10);
	const struct keycache_id others[] = {
		id_of("ann", "secret", "salt", 11), id_of("ann", "secret", "tals", 10), id_of("ann", "Secret", "salt", 10),
		id_of("bob", "secret", "salt", 10), id_of("anns", "ecret", "salt", 10), id_of("ann", "secrets", "alt", 10),
	};
	struct keycache *cache = keycache_new(10);
	struct scram_keys derived, expected;

	(void)state;
	assert_null(keycache_find(cache, &id));
	assert_true(keycache_derive(cache, &id, &derived));
	assert_true(scram_keys_derive(&expected, id.secret, id.salt, id.iterations));
	assert_memory_equal(&derived, &expected, sizeof(expected));
	assert_memory_equal(keycache_find(cache, &id), &expected, sizeof(expected));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_null(keycache_find(cache, &others[i]));
	assert_int_equal(keycache_count(cache), 1);
	keycache_free(&cache);
	assert_null(cache);
}

static void a_second_derivation_is_a_look_up(void **state)
{
	const struct keycache_id id = id_of("ann", "secret", "salt", 10);
	struct keycache *cache = keycache_new(10);
	struct scram_keys known, keys;

	(void)state;
	assert_true(scram_keys_derive(&known, SLICE_LIT("told apart"), SLICE_LIT("salt"), 10));
	keycache_put(cache, &id, &known);
	assert_true(keycache_derive(cache, &id, &keys));
	assert_memory_equal(&keys, &known, sizeof(keys));
	assert_int_equal(keycache_count(cache), 1);
	keycache_free(&cache);
}

static void the_one_unused_for_longest_goes_first(void **state)
{
	const struct keycache_id a = id_of("a", "x", "salt", 1), b = id_of("b", "x", "salt", 1);
	const struct keycache_id c = id_of("c", "x", "salt", 1);
	struct keycache *cache = keycache_new(2);
	struct scram_keys keys;

	(void)state;
	assert_true(keycache_derive(cache, &a, &keys));
	assert_true(keycache_derive(cache, &b, &keys));
	assert_non_null(keycache_find(cache, &a));
	assert_true(keycache_derive(cache, &c, &keys));
	assert_int_equal(keycache_count(cache), 2);
	assert_non_null(keycache_find(cache, &a));
	assert_null(keycache_find(cache, &b));
	assert_non_null(keycache_find(cache, &c));
	keycache_free(&cache);
}

static void what_cannot_be_derived_is_not_kept(void **state)
{
	const struct keycache_id id = id_of("ann", "secret", "", 10);
	struct keycache *cache = keycache_new(10);
	struct scram_keys keys;

	(void)state;
	assert_false(keycache_derive(cache, &id, &keys));
	assert_int_equal(keycache_count(cache), 0);
	keycache_free(&cache);
	keycache_free(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_found_by_all_that_made_them),
		cmocka_unit_test(a_second_derivation_is_a_look_up),
		cmocka_unit_test(the_one_unused_for_longest_goes_first),
		cmocka_unit_test(what_cannot_be_derived_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
