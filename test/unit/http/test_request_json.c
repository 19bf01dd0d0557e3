#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "http/request_json.h"

static bool read(struct slice body, struct strbuf *value)
{
	strbuf_init(value);
	return request_json_member(body, "command", value);
}

static void assert_value(const char *body, const char *expected)
{
	struct strbuf value;

	assert_true(read(slice_of(body), &value));
	assert_true(slice_is(strbuf_slice(&value), expected));
	strbuf_fini(&value);
}

static void assert_none(struct slice body)
{
	struct strbuf value;

	assert_false(read(body, &value));
	strbuf_fini(&value);
}

static void the_member_is_found_whatever_the_blanks(void **state)
{
	(void)state;
	assert_value("{\"command\":\"RELOAD\"}", "RELOAD");
	assert_value(" {\t\"command\"\r\n: \"PAUSE shop\" } \n", "PAUSE shop");
	assert_value("{\"command\":\"\"}", "");
	assert_value("{\"comm\\u0061nd\":\"x\"}", "x");
}

static void escapes_are_what_they_stand_for(void **state)
{
	(void)state;
	assert_value("{\"command\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
	assert_value("{\"command\":\"\\u0041\\u00e9\\u20AC\\ud83d\\udc18\"}", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98");
}

static void halves_of_characters_and_nul_are_refused(void **state)
{
	(void)state;
	assert_none(SLICE_LIT("{\"command\":\"\\ud83d\"}"));
	assert_none(SLICE_LIT("{\"command\":\"\\ud83d\\u0041\"}"));
	assert_none(SLICE_LIT("{\"command\":\"\\udc18\"}"));
	assert_none(SLICE_LIT("{\"command\":\"\\u0000\"}"));
	assert_none((struct slice){"{\"command\":\"a\0b\"}", 17});
}

static void anything_else_is_refused(void **state)
{
	static const char *const bodies[] = {
		"", "{}", "{", "\"command\"", "[\"command\",\"x\"]", "{\"kommand\":\"x\"}", "{\"command\":1}",
		"{\"command\":\"x\",}", "{\"command\":\"x\"}}", "{\"command\":\"x\"", "{\"command\":\"x}", "{\"command\"}",
		"{\"command\":\"\\x\"}", "{\"command\":\"\\u12g4\"}", "{\"command\":\"a\nb\"}", "{\"command\":null}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_none(slice_of(bodies[i]));
}

/* Wherever it is cut off, nothing behind the end is read: the sanitizer looks. */
static void a_body_that_is_cut_off_is_refused(void **state)
{
	static const char body[] = "{\"command\":\"\\ud83d\\udc18\\n\"}";

	(void)state;
	for (size_t n = 0; n < sizeof(body) - 1; n++) {
		char *cut = malloc(n == 0 ? 1 : n);

		memcpy(cut, body, n);
		assert_none((struct slice){cut, n});
		free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_member_is_found_whatever_the_blanks),
		cmocka_unit_test(escapes_are_what_they_stand_for),
		cmocka_unit_test(halves_of_characters_and_nul_are_refused),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(a_body_that_is_cut_off_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
