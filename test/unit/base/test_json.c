#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"

/* The text of one string. */
static void assert_string(struct slice value, const char *expected)
{
	struct strbuf out;
	struct json j;

	strbuf_init(&out);
	json_init(&j, &out);
	json_string(&j, value);
	assert_false(out.failed);
	assert_string_equal(out.p, expected);
	strbuf_fini(&out);
}

static void values_are_separated_by_commas(void **state)
{
	struct strbuf out;
	struct json j;

	(void)state;
	strbuf_init(&out);
	json_init(&j, &out);
	json_object_begin(&j);
	json_key(&j, "a");
	json_array_begin(&j);
	json_integer(&j, INT64_MIN);
	json_null(&j);
	json_array_begin(&j);
	json_array_end(&j);
	json_boolean(&j, true);
	json_array_end(&j);
	json_key(&j, "b");
	json_object_begin(&j);
	json_object_end(&j);
	json_key(&j, "c");
	json_boolean(&j, false);
	json_key(&j, "d");
	json_verbatim(&j, SLICE_LIT("0.25"));
	json_object_end(&j);
	assert_string_equal(out.p, "{\"a\":[-9223372036854775808,null,[],true],\"b\":{},\"c\":false,\"d\":0.25}");
	strbuf_fini(&out);
}

static void what_is_written_may_leave_in_pieces(void **state)
{
	struct strbuf out;
	struct json j;

	(void)state;
	strbuf_init(&out);
	json_init(&j, &out);
	json_array_begin(&j);
	json_integer(&j, 1);
	assert_string_equal(out.p, "[1");
	strbuf_reset(&out);
	json_integer(&j, 2);
	json_array_end(&j);
	assert_string_equal(out.p, ",2]");
	strbuf_fini(&out);
}

static void quotes_backslashes_and_control_characters_are_escaped(void **state)
{
	(void)state;
	assert_string(SLICE_LIT("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
	assert_string(SLICE_LIT("\t\r\n\x01\x1f\x7f"), "\"\\t\\r\\n\\u0001\\u001f\\u007f\"");
	assert_string((struct slice){"a\0b", 3}, "\"a\\u0000b\"");
	assert_string((struct slice){NULL, 0}, "\"\"");
}

static void utf8_passes_as_it_is(void **state)
{
	(void)state;
	assert_string(SLICE_LIT("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98 \xf4\x8f\xbf\xbf"),
		      "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98 \xf4\x8f\xbf\xbf\"");
}

static void bytes_that_are_not_utf8_are_replaced_one_by_one(void **state)
{
	(void)state;
	assert_string(SLICE_LIT("a\xff" "b"), "\"a\xef\xbf\xbd" "b\"");
	assert_string(SLICE_LIT("\xc3"), "\"\xef\xbf\xbd\"");
	assert_string(SLICE_LIT("\xc3\"x"), "\"\xef\xbf\xbd\\\"x\"");
	assert_string(SLICE_LIT("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	/* Longer than needed, half of a surrogate pair, beyond the last character. */
	assert_string(SLICE_LIT("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string(SLICE_LIT("\xe0\x9f\xbf"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string(SLICE_LIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string(SLICE_LIT("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void keys_are_escaped_too(void **state)
{
	struct strbuf out;
	struct json j;

	(void)state;
	strbuf_init(&out);
	json_init(&j, &out);
	json_key(&j, "a\"b");
	assert_string_equal(out.p, "\"a\\\"b\":");
	strbuf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_separated_by_commas),
		cmocka_unit_test(what_is_written_may_leave_in_pieces),
		cmocka_unit_test(quotes_backslashes_and_control_characters_are_escaped),
		cmocka_unit_test(utf8_passes_as_it_is),
		cmocka_unit_test(bytes_that_are_not_utf8_are_replaced_one_by_one),
		cmocka_unit_test(keys_are_escaped_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
