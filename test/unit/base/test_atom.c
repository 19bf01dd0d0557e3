#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/atom.h"

static void equal_texts_are_one_atom(void **state)
{
	char elsewhere[] = "ann";
	struct atom *a = atom_get(SLICE_LIT("ann")), *b = atom_get(slice_of(elsewhere));
	struct atom *c = atom_get(SLICE_LIT("Ann"));

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_int_equal(atom_count(), 2);
	atom_unref(&a);
	atom_unref(&b);
	atom_unref(&c);
	assert_int_equal(atom_count(), 0);
}

static void the_text_ends_in_nul_and_may_hold_nul(void **state)
{
	struct atom *a = atom_get((struct slice){"a\0bcd", 3}), *b = atom_get(SLICE_LIT("a"));

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_int_equal(a->len, 3);
	assert_memory_equal(a->text, "a\0b", 4);
	assert_true(slice_eq(atom_slice(a), (struct slice){"a\0b", 3}));
	atom_unref(&a);
	atom_unref(&b);
}

static void the_empty_text_is_an_atom_too(void **state)
{
	struct atom *a = atom_get((struct slice){NULL, 0}), *b = atom_get(SLICE_LIT(""));

	(void)state;
	assert_ptr_equal(a, b);
	assert_string_equal(a->text, "");
	atom_unref(&a);
	atom_unref(&b);
}

static void it_lives_until_the_last_reference_is_dropped(void **state)
{
	struct atom *a = atom_get(SLICE_LIT("shop")), *b = atom_ref(a), *c = atom_get(SLICE_LIT("shop"));

	(void)state;
	atom_unref(&a);
	assert_null(a);
	atom_unref(&b);
	assert_string_equal(c->text, "shop");
	assert_int_equal(atom_count(), 1);
	atom_unref(&c);
	assert_int_equal(atom_count(), 0);
	atom_unref(&c);
}

static void memory_is_counted_and_given_back(void **state)
{
	enum { N = 1000 };
	struct atom *atoms[N];
	char text[32];

	(void)state;
	assert_int_equal(atom_memory(), 0);
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "parameter %d", i);
		atoms[i] = atom_get(slice_of(text));
	}
	assert_int_equal(atom_count(), N);
	assert_true(atom_memory() > N * sizeof(struct atom));
	for (int i = 0; i < N; i++)
		atom_unref(&atoms[i]);
	assert_int_equal(atom_memory(), 0);
}

static void an_atom_may_be_looked_up_by_its_own_text(void **state)
{
	struct atom *a = atom_get(SLICE_LIT("self")), *b = atom_get(atom_slice(a));

	(void)state;
	assert_ptr_equal(a, b);
	atom_unref(&a);
	atom_unref(&b);
}

static void finding_makes_none_and_takes_no_reference(void **state)
{
	struct atom *a = atom_get(SLICE_LIT("here"));

	(void)state;
	assert_null(atom_find(SLICE_LIT("there")));
	assert_int_equal(atom_count(), 1);
	assert_ptr_equal(atom_find(SLICE_LIT("here")), a);
	atom_unref(&a);
	assert_int_equal(atom_count(), 0);
	assert_null(atom_find(SLICE_LIT("here")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_texts_are_one_atom),
		cmocka_unit_test(the_text_ends_in_nul_and_may_hold_nul),
		cmocka_unit_test(the_empty_text_is_an_atom_too),
		cmocka_unit_test(it_lives_until_the_last_reference_is_dropped),
		cmocka_unit_test(memory_is_counted_and_given_back),
		cmocka_unit_test(an_atom_may_be_looked_up_by_its_own_text),
		cmocka_unit_test(finding_makes_none_and_takes_no_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
