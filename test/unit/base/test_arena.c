#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdalign.h>
#include <cmocka.h>

#include "base/arena.h"

static void memory_is_zeroed_and_aligned_whatever_its_size(void **state)
{
	struct arena *a = arena_new();

	(void)state;
	for (size_t n = 1; n < 40000; n = n * 3 + 1) {
		unsigned char *p = arena_alloc(a, n);

		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	arena_free(a);
}

static void allocations_do_not_overlap(void **state)
{
	struct arena *a = arena_new();
	int *p[5000];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		p[i] = arena_alloc(a, sizeof(int));
		*p[i] = i;
	}
	for (int i = 0; i < 5000; i++)
		assert_int_equal(*p[i], i);
	arena_free(a);
}

static void copies_and_formatted_texts_end_in_nul(void **state)
{
	struct arena *a = arena_new();

	(void)state;
	assert_string_equal(arena_copy(a, (struct slice){"abcdef", 3}), "abc");
	assert_string_equal(arena_copy(a, (struct slice){NULL, 0}), "");
	assert_string_equal(arena_printf(a, "%s=%d", "n", 7), "n=7");
	arena_free(a);
}

static void the_size_counts_what_was_handed_out(void **state)
{
	struct arena *a = arena_new();

	(void)state;
	assert_int_equal(arena_size(a), 0);
	arena_alloc(a, 100000);
	assert_in_range(arena_size(a), 100000, 100100);
	arena_free(a);
}

static void freeing_nothing_is_allowed(void **state)
{
	(void)state;
	arena_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_and_aligned_whatever_its_size),
		cmocka_unit_test(allocations_do_not_overlap),
		cmocka_unit_test(copies_and_formatted_texts_end_in_nul),
		cmocka_unit_test(the_size_counts_what_was_handed_out),
		cmocka_unit_test(freeing_nothing_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
