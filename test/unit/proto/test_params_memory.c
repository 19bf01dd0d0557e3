#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "proto/params.h"

#include "../failing.h"

static void a_change_that_memory_is_out_for_leaves_the_set_as_it_was(void **state)
{
	const char *error;
	struct params *params = params_new("", &error);
	struct paramset *empty = paramset_empty(params), *s = paramset_ref(empty);
	bool failed = true;
	long n;

	(void)state;
	/* Each round has a value that is new: nothing of it is there yet. */
	for (n = 0; failed; n++) {
		struct paramset *before = s;
		char value[32];

		snprintf(value, sizeof(value), "zone %ld", n);
		fail_after(n);
		failed = !paramset_change(params, &s, 2, slice_of(value));
		assert_true(failed == has_failed());
		assert_true(failed == (s == before));
		assert_true(failed == (paramset_value(s, 2) == NULL));
	}
	assert_true(n > 2);
	paramset_unref(params, &s);
	paramset_unref(params, &empty);
	params_free(params);
	assert_int_equal(atom_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_that_memory_is_out_for_leaves_the_set_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
