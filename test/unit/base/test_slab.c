#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slab.h"

/* More than is allocated at a time: 600 bytes each, in chunks of 64 KiB, 16 of them together. */
#define SIZE 600
#define MANY 2500

static void objects_are_zeroed_aligned_and_apart(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	unsigned char *p[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		p[i] = slab_take(s);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		for (int k = 0; k < SIZE; k++)
			assert_int_equal(p[i][k], 0);
		memset(p[i], i & 0xff, SIZE);
	}
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(p[i][0], i & 0xff);
		assert_int_equal(p[i][SIZE - 1], i & 0xff);
	}
	slab_free(s);
}

static void an_index_finds_its_object_again(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	void *p[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++)
		p[i] = slab_take(s);
	for (int i = 0; i < MANY; i++) {
		uint32_t index = slab_index(s, p[i]);

		assert_true(index < slab_capacity(s));
		assert_ptr_equal(slab_at(s, index), p[i]);
	}
	slab_free(s);
}

static void an_index_without_a_live_object_finds_nothing(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	void *p = slab_take(s);
	uint32_t index = slab_index(s, p);

	(void)state;
	assert_null(slab_at(s, index + 1));
	assert_null(slab_at(s, UINT32_MAX));
	slab_give(s, p);
	assert_null(slab_at(s, index));
	slab_free(s);
}

static void an_empty_slab_has_nothing(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	uint32_t i = 0;

	(void)state;
	assert_null(slab_at(s, 0));
	assert_null(slab_next(s, &i));
	assert_int_equal(slab_capacity(s), 0);
	slab_free(s);
}

static void a_given_object_is_used_again_and_zeroed(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	void *p[MANY];
	size_t capacity;

	(void)state;
	for (int i = 0; i < MANY; i++)
		p[i] = slab_take(s);
	capacity = slab_capacity(s);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < MANY; i++) {
			memset(p[i], 0xff, SIZE);
			slab_give(s, p[i]);
		}
		assert_int_equal(slab_used(s), 0);
		for (int i = 0; i < MANY; i++) {
			static const unsigned char zeros[SIZE];

			p[i] = slab_take(s);
			assert_memory_equal(p[i], zeros, SIZE);
		}
	}
	assert_int_equal(slab_capacity(s), capacity);
	slab_free(s);
}

static void two_live_objects_never_share_an_index(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	static unsigned char seen[4 * MANY];
	void *p[MANY];

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < MANY; i++)
		p[i] = slab_take(s);
	for (int i = 0; i < MANY; i += 3)
		slab_give(s, p[i]);
	for (int i = 0; i < MANY; i += 3)
		p[i] = slab_take(s);
	for (int i = 0; i < MANY; i++) {
		uint32_t index = slab_index(s, p[i]);

		assert_in_range(index, 0, sizeof(seen) - 1);
		assert_int_equal(seen[index]++, 0);
	}
	slab_free(s);
}

static void iteration_meets_each_live_object_once_in_order(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	uint32_t i = 0, before = 0, n = 0;
	void *p[MANY], *object;

	(void)state;
	for (int k = 0; k < MANY; k++)
		p[k] = slab_take(s);
	for (int k = 0; k < MANY; k += 2)
		slab_give(s, p[k]);
	while ((object = slab_next(s, &i)) != NULL) {
		uint32_t index = slab_index(s, object);

		assert_true(n == 0 || index > before);
		assert_int_equal(i, index + 1);
		before = index;
		n++;
	}
	assert_int_equal(n, MANY / 2);
	slab_free(s);
}

static void what_is_met_may_be_given_back_during_iteration(void **state)
{
	struct slab *s = slab_new("thing", SIZE);
	uint32_t i = 0, n = 0;
	void *object;

	(void)state;
	for (int k = 0; k < MANY; k++)
		slab_take(s);
	while ((object = slab_next(s, &i)) != NULL) {
		slab_give(s, object);
		n++;
	}
	assert_int_equal(n, MANY);
	assert_int_equal(slab_used(s), 0);
	slab_free(s);
}

static void figures_say_what_is_there(void **state)
{
	struct slab *s = slab_new("client_cache", SIZE);
	void *p = slab_take(s);

	(void)state;
	slab_take(s);
	slab_give(s, p);
	assert_string_equal(slab_name(s), "client_cache");
	assert_in_range(slab_object_size(s), SIZE, SIZE + 15);
	assert_int_equal(slab_used(s), 1);
	assert_true(slab_capacity(s) >= 2);
	slab_free(s);
}

static void freeing_nothing_is_allowed(void **state)
{
	(void)state;
	slab_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_zeroed_aligned_and_apart),
		cmocka_unit_test(an_index_finds_its_object_again),
		cmocka_unit_test(an_index_without_a_live_object_finds_nothing),
		cmocka_unit_test(an_empty_slab_has_nothing),
		cmocka_unit_test(a_given_object_is_used_again_and_zeroed),
		cmocka_unit_test(two_live_objects_never_share_an_index),
		cmocka_unit_test(iteration_meets_each_live_object_once_in_order),
		cmocka_unit_test(what_is_met_may_be_given_back_during_iteration),
		cmocka_unit_test(figures_say_what_is_there),
		cmocka_unit_test(freeing_nothing_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
