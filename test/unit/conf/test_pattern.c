#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/pattern.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What these say is what PostgreSQL says: SELECT name ~ expression. */
static void expressions_match_as_in_postgresql(void **state)
{
	static const struct {
		const char *expression, *name;
		bool matches;
	} cases[] = {
		{"b", "abc", true},            {"^b", "abc", false},        {"^abc$", "abc", true},
		{"", "abc", true},             {"^$", "", true},            {"^$", "a", false},
		{"^a|b$", "xb", true},         {"^(a|b)+$", "abba", true},  {"^(a|b)+$", "abc", false},
		{"^db\\d{2,4}$", "db123", true},   {"^db\\d{2,4}$", "db1", false}, {"^db\\d{2,4}$", "dbdd", false},
		{"^\\D+$", "abc", true},       {"^\\D+$", "ab1", false},    {"^\\w+$", "a_1", true},
		{"^\\w+$", "a-1", false},      {"^\\W$", "-", true},        {"^\\s\\S$", " a", true},
		{"^[\\d.]+$", "1.2", true},    {"^[\\d.]+$", "d", false},   {"^[\\w-]+$", "a_-1", true},
		{"^[^\\s]+$", "ab", true},     {"^[^\\s]+$", "a b", false}, {"^[\\\\a]+$", "a\\", true},
		{"^[\\.\\/]$", ".", true},     {"^[\\.\\/]$", "\\", false}, {"^[]a]+$", "]a", true},
		{"^[^]a]$", "]", false},       {"^[[:alpha:]_]+$", "a_b", true}, {"^[a[.-.]]+$", "a-", true},
		{"^a\\.b$", "a.b", true},      {"^a\\.b$", "axb", false},   {"^a\\-b\\/\\@$", "a-b/@", true},
		{"^\\'\\`\\<$", "'`<", true},  {"^a\\{\\}$", "a{}", true},  {"^a{,3}$", "a{,3}", true},
		{"^a{,3}$", "aaa", false},     {"^x{2}$", "xx", true},      {"^x{2}$", "xxx", false},
		{"^x{2,}y?$", "xxxy", true},   {"^a.c$", "a\nc", true},     {"^abc", "ABC", false},
		{"^\xc3\xa9+$", "\xc3\xa9", true}, {"a\\\\b", "a\\b", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct patterns all = {.arena = arena_new()};
		const char *error;
		const struct pattern *p = pattern_new(&all, slice_of(cases[i].expression), &error);

		if (p == NULL || (pattern_match(p, slice_of(cases[i].name), NULL) == MATCH_YES) != cases[i].matches)
			fail_msg("/%s and \"%s\"%s%s", cases[i].expression, cases[i].name, p == NULL ? ": " : "",
				 p == NULL ? error : "");
		patterns_free(&all);
		arena_free(all.arena);
	}
}

static void what_would_mean_something_else_is_refused(void **state)
{
	static const char *const expressions[] = {
		"a*?", "a+?", "a??", "a{1,2}?", "a**", "a{2}{3}", "(?:a)", "(?i)a", "(?=a)", "***=a", "(a)\\1", "\\mab",
		"\\yab", "a\\Z", "\\x41", "\\u0041", "a\\", "[a", "[a\\", "[\\]a]", "[\\^a]", "[a\\-z]", "[\\D]", "[\\n]",
		"[[\\.]", "[[:alpha:", "[[:word:]]", "(a", "*a", "a{2", "[\\w-z]",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(expressions); i++) {
		struct patterns all = {.arena = arena_new()};
		const char *error;

		if (pattern_new(&all, slice_of(expressions[i]), &error) != NULL)
			fail_msg("accepted: %s", expressions[i]);
		assert_non_null(error);
		assert_null(all.first);
		arena_free(all.arena);
	}
}

static void a_name_ends_where_its_slice_does(void **state)
{
	struct patterns all = {.arena = arena_new()};
	const char *error;
	const struct pattern *p = pattern_new(&all, SLICE_LIT("^ab$"), &error);

	(void)state;
	assert_int_equal(pattern_match(p, (struct slice){"abc", 2}, NULL), MATCH_YES);
	assert_int_equal(pattern_match(p, (struct slice){"abc", 3}, NULL), MATCH_NO);
	assert_int_equal(pattern_match(p, (struct slice){NULL, 0}, NULL), MATCH_NO);
	patterns_free(&all);
	arena_free(all.arena);
}

static void the_first_group_is_given_if_it_took_part(void **state)
{
	struct patterns all = {.arena = arena_new()};
	const char *error;
	const struct pattern *p = pattern_new(&all, SLICE_LIT("^(a+)@(x|y)$|^none$"), &error);
	const struct pattern *q = pattern_new(&all, SLICE_LIT("^ab$"), &error);
	struct slice group;

	(void)state;
	assert_true(pattern_has_group(p));
	assert_false(pattern_has_group(q));
	assert_int_equal(pattern_match(p, SLICE_LIT("aa@x"), &group), MATCH_YES);
	assert_true(slice_is(group, "aa"));
	assert_int_equal(pattern_match(p, SLICE_LIT("none"), &group), MATCH_YES);
	assert_null(group.p);
	patterns_free(&all);
	arena_free(all.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_match_as_in_postgresql),
		cmocka_unit_test(what_would_mean_something_else_is_refused),
		cmocka_unit_test(a_name_ends_where_its_slice_does),
		cmocka_unit_test(the_first_group_is_given_if_it_took_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
