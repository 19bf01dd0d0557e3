#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/hashtable.h"

#include "../random.h"

#define MANY 5000

static struct hashtable table;
static struct hashed objects[MANY];

static int set_up(void **state)
{
	(void)state;
	memset(objects, 0, sizeof(objects));
	return 0;
}

static void an_object_is_found_by_its_hash_until_it_is_removed(void **state)
{
	struct hashed *a = &objects[0], *b = &objects[1];

	(void)state;
	a->hash = 1;
	b->hash = UINT64_C(1) << 63 | 1;
	assert_null(hashtable_find(&table, 1));
	assert_true(hashtable_add(&table, a));
	assert_true(hashtable_add(&table, b));
	assert_ptr_equal(hashtable_find(&table, a->hash), a);
	assert_ptr_equal(hashtable_find(&table, b->hash), b);
	assert_null(hashtable_find_next(a));
	assert_null(hashtable_find_next(b));
	assert_null(hashtable_find(&table, 9));
	hashtable_remove(&table, a);
	assert_null(hashtable_find(&table, a->hash));
	assert_ptr_equal(hashtable_find(&table, b->hash), b);
	hashtable_remove(&table, b);
}

static void all_with_one_hash_are_found_one_after_the_other(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		objects[i].hash = i % 2;
		assert_true(hashtable_add(&table, &objects[i]));
	}
	for (struct hashed *h = hashtable_find(&table, 1); h != NULL; h = hashtable_find_next(h)) {
		assert_int_equal(h->hash, 1);
		n++;
	}
	assert_int_equal(n, 50);
	for (unsigned i = 0; i < 100; i++)
		hashtable_remove(&table, &objects[i]);
}

static void memory_grows_and_shrinks_with_the_objects_and_is_none_in_the_end(void **state)
{
	size_t most;

	(void)state;
	assert_int_equal(hashtable_memory(&table), 0);
	for (unsigned i = 0; i < MANY; i++) {
		objects[i].hash = i;
		assert_true(hashtable_add(&table, &objects[i]));
	}
	most = hashtable_memory(&table);
	assert_in_range(most, MANY * sizeof(void *), 2 * MANY * sizeof(void *));
	for (unsigned i = 1; i < MANY; i++)
		hashtable_remove(&table, &objects[i]);
	assert_in_range(hashtable_memory(&table), 1, most / 100);
	assert_ptr_equal(hashtable_find(&table, 0), &objects[0]);
	hashtable_remove(&table, &objects[0]);
	assert_int_equal(hashtable_memory(&table), 0);
}

/* Hashes from a small range, so that objects share buckets and whole hashes. */
static void it_holds_what_a_list_of_flags_says_after_random_steps(void **state)
{
	static unsigned char is_in[MANY];
	size_t n = 0, steps = 40000;

	(void)state;
	random_start();
	for (unsigned i = 0; i < MANY; i++)
		objects[i].hash = random_below(MANY / 2);
	while (steps-- > 0) {
		unsigned i = random_below(MANY);
		struct hashed *h = hashtable_find(&table, objects[i].hash);

		while (h != NULL && h != &objects[i])
			h = hashtable_find_next(h);
		assert_int_equal(h != NULL, is_in[i]);
		/* Filled in the first half, emptied in the second. */
		if (h == NULL && (steps > 20000 || random_below(4) == 0)) {
			assert_true(hashtable_add(&table, &objects[i]));
			n += is_in[i] = 1;
		} else if (h != NULL && (steps < 20000 || random_below(4) == 0)) {
			hashtable_remove(&table, h);
			n -= is_in[i];
			is_in[i] = 0;
		}
		assert_int_equal(table.n, n);
	}
	for (struct hashed *h = hashtable_next(&table, NULL); h != NULL; h = hashtable_next(&table, h)) {
		assert_int_equal(is_in[h - objects]++, 1);
		n--;
	}
	assert_int_equal(n, 0);
	for (unsigned i = 0; i < MANY; i++) {
		if (is_in[i])
			hashtable_remove(&table, &objects[i]);
	}
	assert_null(hashtable_next(&table, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_object_is_found_by_its_hash_until_it_is_removed, set_up),
		cmocka_unit_test_setup(all_with_one_hash_are_found_one_after_the_other, set_up),
		cmocka_unit_test_setup(memory_grows_and_shrinks_with_the_objects_and_is_none_in_the_end, set_up),
		cmocka_unit_test_setup(it_holds_what_a_list_of_flags_says_after_random_steps, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
