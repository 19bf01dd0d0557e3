#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/names.h"

static void a_name_leads_to_its_entry_and_no_other_to_any(void **state)
{
	struct arena *arena = arena_new();
	struct names *names = names_new(arena);
	int a = 1, b = 2;

	(void)state;
	names_add(names, "a", &a);
	names_add(names, "ab", &b);
	assert_ptr_equal(names_find(names, SLICE_LIT("a")), &a);
	assert_ptr_equal(names_find(names, (struct slice){"abc", 2}), &b);
	assert_null(names_find(names, SLICE_LIT("A")));
	assert_null(names_find(names, SLICE_LIT("")));
	arena_free(arena);
}

static void ten_thousand_names_are_all_found(void **state)
{
	struct arena *arena = arena_new();
	struct names *names = names_new(arena);

	(void)state;
	for (int i = 0; i < 10000; i++) {
		char *name = arena_printf(arena, "user%d", i);

		names_add(names, name, name);
	}
	for (int i = 0; i < 10000; i++) {
		struct slice name = slice_of(arena_printf(arena, "user%d", i));

		assert_string_equal(names_find(names, name), name.p);
	}
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_leads_to_its_entry_and_no_other_to_any),
		cmocka_unit_test(ten_thousand_names_are_all_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
