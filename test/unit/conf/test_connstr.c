#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/connstr.h"

/* Reads all pairs into "key=value|key=value|"; a bad end adds "BAD". */
static char *read_all(struct arena *arena, const char *text)
{
	struct slice rest = slice_of(text);
	struct connstr_pair pair;
	enum connstr_step step;
	const char *error;
	char *all = arena_copy(arena, SLICE_LIT(""));

	while ((step = connstr_next(&rest, arena, &pair, &error)) == CONNSTR_PAIR)
		all = arena_printf(arena, "%s%.*s=%s|", all, (int)pair.key.n, pair.key.p, pair.value.p);
	return step == CONNSTR_BAD ? arena_printf(arena, "%sBAD", all) : all;
}

static void check(const char *text, const char *expected)
{
	struct arena *arena = arena_new();

	assert_string_equal(read_all(arena, text), expected);
	arena_free(arena);
}

static void pairs_are_separated_by_blanks(void **state)
{
	(void)state;
	check("host=a port=1", "host=a|port=1|");
	check("  host=a \t port=1  ", "host=a|port=1|");
	check("", "");
}

static void quoted_values_may_have_blanks_quotes_and_nothing(void **state)
{
	(void)state;
	check("q='SELECT 1 ; SELECT ''x''' u=a", "q=SELECT 1 ; SELECT 'x'|u=a|");
	check("p='' u=a", "p=|u=a|");
	check("p=''''", "p='|");
}

static void an_unquoted_value_is_taken_as_it_is(void **state)
{
	(void)state;
	check("p=a'b\\c=d", "p=a'b\\c=d|");
	check("host=a,b,/c", "host=a,b,/c|");
}

static void blanks_may_stand_around_the_equals_sign(void **state)
{
	(void)state;
	check("host = a port= 1 user ='b'", "host=a|port=1|user=b|");
}

static void an_empty_value_needs_quotes(void **state)
{
	(void)state;
	check("user=", "BAD");
	check("user= password=x", "BAD");
}

static void what_is_no_pair_is_bad(void **state)
{
	(void)state;
	check("host", "BAD");
	check("host=a port", "host=a|BAD");
	check("=a", "BAD");
	check("p='open", "BAD");
	check("p='a''", "BAD");
	check("p='a'b=c", "BAD");
}

static void long_values_survive(void **state)
{
	static char text[65600];
	struct arena *arena = arena_new();
	struct slice rest;
	struct connstr_pair pair;
	const char *error;

	(void)state;
	memset(text, 'x', 65540);
	memcpy(text, "q=", 2);
	rest = slice_of(text);
	assert_int_equal(connstr_next(&rest, arena, &pair, &error), CONNSTR_PAIR);
	assert_int_equal(pair.value.n, 65538);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_separated_by_blanks),
		cmocka_unit_test(quoted_values_may_have_blanks_quotes_and_nothing),
		cmocka_unit_test(an_unquoted_value_is_taken_as_it_is),
		cmocka_unit_test(blanks_may_stand_around_the_equals_sign),
		cmocka_unit_test(an_empty_value_needs_quotes),
		cmocka_unit_test(what_is_no_pair_is_bad),
		cmocka_unit_test(long_values_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
