#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>

#include "top/top_text.h"

typedef void put_text(struct strbuf *out, const char *text);
typedef void put_number(struct strbuf *out, double value);

static char room[256];

static const char *shown(put_text *put, const char *text)
{
	struct strbuf out;

	strbuf_init_fixed(&out, room, sizeof(room));
	strbuf_add_str(&out, "");
	put(&out, text);
	assert_false(out.failed);
	return room;
}

static const char *number(put_number *put, double value)
{
	struct strbuf out;

	strbuf_init_fixed(&out, room, sizeof(room));
	put(&out, value);
	assert_false(out.failed);
	return room;
}

static int in_utf8(void **state)
{
	(void)state;
	return setlocale(LC_CTYPE, "C.UTF-8") == NULL;
}

static int in_ascii(void **state)
{
	(void)state;
	return setlocale(LC_CTYPE, "C") == NULL;
}

static void control_characters_are_written_as_what_they_are(void **state)
{
	(void)state;
	assert_string_equal(shown(top_text_put, "a\x1b[2Jb\r\n\x7f"), "a\\x1b[2Jb\\x0d\\x0a\\x7f");
	assert_string_equal(shown(top_text_put, "\xc2\x9b" "31m"), "\\xc2\\x9b" "31m");
}

static void characters_that_turn_the_direction_are_written_as_what_they_are(void **state)
{
	(void)state;
	assert_string_equal(shown(top_text_put, "a\xe2\x80\xae" "b"), "a\\xe2\\x80\\xae" "b");
	assert_string_equal(shown(top_text_put, "\xe2\x81\xa6"), "\\xe2\\x81\\xa6");
}

static void bytes_that_are_no_characters_are_written_as_what_they_are(void **state)
{
	(void)state;
	assert_string_equal(shown(top_text_put, "\xff\xc3"), "\\xff\\xc3");
	assert_string_equal(shown(top_text_put, "\xc3(x"), "\\xc3(x");
	assert_string_equal(shown(top_text_put, "\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

static void letters_of_the_locale_stay(void **state)
{
	(void)state;
	assert_string_equal(shown(top_text_put, "L\xc3\xb6we \xe6\x97\xa5"), "L\xc3\xb6we \xe6\x97\xa5");
	assert_string_equal(shown(top_text_put, ""), "");
}

static void other_letters_do_not(void **state)
{
	(void)state;
	assert_string_equal(shown(top_text_put, "L\xc3\xb6we"), "L\\xc3\\xb6we");
}

static void a_field_has_no_blanks_and_is_never_empty(void **state)
{
	(void)state;
	assert_string_equal(shown(top_text_put_field, "a b"), "a\\x20" "b");
	assert_string_equal(shown(top_text_put_field, "a\xe3\x80\x80" "b"), "a\\xe3\\x80\\x80" "b");
	assert_string_equal(shown(top_text_put_field, ""), "-");
}

static void width_counts_columns_and_not_bytes(void **state)
{
	(void)state;
	assert_int_equal(top_text_width("abc"), 3);
	assert_int_equal(top_text_width("\xc3\xb6"), 1);
	assert_int_equal(top_text_width("\xe6\x97\xa5"), 2);
	assert_int_equal(top_text_width("o\xcc\x88"), 1);
}

static void a_text_is_cut_between_characters(void **state)
{
	(void)state;
	assert_int_equal(top_text_fit("abc", 2), 2);
	assert_int_equal(top_text_fit("\xe6\x97\xa5\xe6\x97\xa5", 3), 3);
	assert_int_equal(top_text_fit("\xe6\x97\xa5", 1), 0);
	assert_int_equal(top_text_fit("ab", 10), 2);
}

static void numbers_are_short(void **state)
{
	(void)state;
	assert_string_equal(number(top_text_put_count, 0), "0");
	assert_string_equal(number(top_text_put_count, 99999), "99999");
	assert_string_equal(number(top_text_put_count, 1234567), "1.23M");
	assert_string_equal(number(top_text_put_count, 999600), "1.00M");
	assert_string_equal(number(top_text_put_count, 1e30), "1000000000000000P");
	assert_string_equal(number(top_text_put_rate, 0.25), "0.2");
	assert_string_equal(number(top_text_put_rate, 12.5), "12");
	assert_string_equal(number(top_text_put_bytes, 1000), "1000");
	assert_string_equal(number(top_text_put_bytes, 1536), "1.50K");
	assert_string_equal(number(top_text_put_bytes, 20.0 * 1024 * 1024), "20.0M");
}

static void times_are_short(void **state)
{
	(void)state;
	assert_string_equal(number(top_text_put_time, 0), "0");
	assert_string_equal(number(top_text_put_time, 850), "850us");
	assert_string_equal(number(top_text_put_time, 1234), "1.2ms");
	assert_string_equal(number(top_text_put_time, 123456), "123ms");
	assert_string_equal(number(top_text_put_time, 2.5e6), "2.5s");
	assert_string_equal(number(top_text_put_time, 185e6), "3m05s");
	assert_string_equal(number(top_text_put_time, 3660e6), "1h01m");
	assert_string_equal(number(top_text_put_time, 90000e6), "1d01h");
	assert_string_equal(number(top_text_put_time, 1e300), "11574074d01h");
}

int main(void)
{
	const struct CMUnitTest utf8[] = {
		cmocka_unit_test(control_characters_are_written_as_what_they_are),
		cmocka_unit_test(characters_that_turn_the_direction_are_written_as_what_they_are),
		cmocka_unit_test(bytes_that_are_no_characters_are_written_as_what_they_are),
		cmocka_unit_test(letters_of_the_locale_stay),
		cmocka_unit_test(a_field_has_no_blanks_and_is_never_empty),
		cmocka_unit_test(width_counts_columns_and_not_bytes),
		cmocka_unit_test(a_text_is_cut_between_characters),
		cmocka_unit_test(numbers_are_short),
		cmocka_unit_test(times_are_short),
	};
	const struct CMUnitTest ascii[] = {
		cmocka_unit_test(control_characters_are_written_as_what_they_are),
		cmocka_unit_test(other_letters_do_not),
	};

	return cmocka_run_group_tests_name("in UTF-8", utf8, in_utf8, NULL)
	       + cmocka_run_group_tests_name("in ASCII", ascii, in_ascii, NULL);
}
