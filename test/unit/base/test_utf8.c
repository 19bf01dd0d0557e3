#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"

static void a_character_takes_one_to_four_bytes(void **state)
{
	(void)state;
	assert_int_equal(utf8_character(SLICE_LIT("ab")), 1);
	assert_int_equal(utf8_character((struct slice){"\0", 1}), 1);
	assert_int_equal(utf8_character(SLICE_LIT("\xc2\x80" "b")), 2);
	assert_int_equal(utf8_character(SLICE_LIT("\xe0\xa0\x80")), 3);
	assert_int_equal(utf8_character(SLICE_LIT("\xed\x9f\xbf")), 3);
	assert_int_equal(utf8_character(SLICE_LIT("\xf0\x90\x80\x80")), 4);
	assert_int_equal(utf8_character(SLICE_LIT("\xf4\x8f\xbf\xbf")), 4);
}

static void what_is_cut_off_is_no_character(void **state)
{
	static const char text[] = "\xf0\x9f\x90\x98";

	(void)state;
	for (size_t n = 1; n < 4; n++)
		assert_int_equal(utf8_character((struct slice){text, n}), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xe2\x82" "a")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xc3" "a")), 0);
}

static void longer_than_needed_surrogates_and_beyond_the_end_are_none(void **state)
{
	(void)state;
	assert_int_equal(utf8_character(SLICE_LIT("\x80")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xc0\xaf")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xc1\xbf")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xe0\x9f\xbf")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xed\xa0\x80")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xf0\x8f\xbf\xbf")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xf4\x90\x80\x80")), 0);
	assert_int_equal(utf8_character(SLICE_LIT("\xf5\x80\x80\x80")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_character_takes_one_to_four_bytes),
		cmocka_unit_test(what_is_cut_off_is_no_character),
		cmocka_unit_test(longer_than_needed_surrogates_and_beyond_the_end_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
