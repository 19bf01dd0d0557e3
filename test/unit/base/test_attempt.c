#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/attempt.h"

static char undone[8];

static void note(void *name)
{
	strcat(undone, name);
}

static int forget(void **state)
{
	(void)state;
	undone[0] = '\0';
	return 0;
}

static void guard_and_give_up(void *arg)
{
	struct guard a, b, c;

	(void)arg;
	guard_set(&a, note, "a");
	guard_set(&b, note, "b");
	guard_set(&c, note, "c");
	guard_lift(&b);
	attempt_give_up();
}

static void what_is_given_up_is_undone_last_to_first_but_for_what_was_lifted(void **state)
{
	(void)state;
	assert_false(attempt(guard_and_give_up, NULL));
	assert_string_equal(undone, "ca");
}

static struct guard kept;

static void guard_and_return(void *arg)
{
	(void)arg;
	guard_set(&kept, note, "kept");
}

static void what_a_successful_attempt_has_made_is_not_undone_by_the_next(void **state)
{
	(void)state;
	assert_true(attempt(guard_and_return, NULL));
	assert_false(attempt(guard_and_give_up, NULL));
	assert_string_equal(undone, "ca");
	guard_lift(&kept);
}

static void guards_outside_of_attempts_do_nothing(void **state)
{
	struct guard g;

	(void)state;
	guard_set(&g, note, "x");
	assert_false(attempt(guard_and_give_up, NULL));
	guard_lift(&g);
	assert_string_equal(undone, "ca");
}

/* AddressSanitizer says so if it is not. */
static void fill_arenas_and_give_up(void *arg)
{
	struct arena *first = arena_new(), *second = arena_new(), *third = arena_new();

	(void)arg;
	arena_alloc(first, 100);
	arena_alloc(third, 100000);
	arena_free(second);
	attempt_give_up();
}

static void arenas_of_an_attempt_are_freed_with_it(void **state)
{
	(void)state;
	assert_false(attempt(fill_arenas_and_give_up, NULL));
}

static void make_arena(void *arg)
{
	*(struct arena **)arg = arena_new();
}

static void an_arena_that_outlives_its_attempt_can_be_filled_and_freed(void **state)
{
	struct arena *a = NULL;

	(void)state;
	assert_true(attempt(make_arena, &a));
	assert_string_equal(arena_copy(a, SLICE_LIT("x")), "x");
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_given_up_is_undone_last_to_first_but_for_what_was_lifted, forget),
		cmocka_unit_test_setup(what_a_successful_attempt_has_made_is_not_undone_by_the_next, forget),
		cmocka_unit_test_setup(guards_outside_of_attempts_do_nothing, forget),
		cmocka_unit_test(arenas_of_an_attempt_are_freed_with_it),
		cmocka_unit_test(an_arena_that_outlives_its_attempt_can_be_filled_and_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
