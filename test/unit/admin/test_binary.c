#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/binary.h"

static void assert_bytes(enum column_type type, struct cell cell, const char *bytes, size_t n)
{
	char room[CELL_ROOM];
	struct slice binary = cell_binary(type, &cell, room);

	assert_int_equal(binary.n, n);
	assert_memory_equal(binary.p, bytes, n);
}
#define CHECK(type, number, bytes) assert_bytes(COLUMN_##type, cell_number(number), bytes, sizeof(bytes) - 1)

static void integers_are_big_endian(void **state)
{
	(void)state;
	CHECK(INT4, 1, "\0\0\0\1");
	CHECK(INT4, -2, "\xff\xff\xff\xfe");
	CHECK(INT8, INT64_C(0x0102030405060708), "\1\2\3\4\5\6\7\x08");
	CHECK(INT8, -1, "\xff\xff\xff\xff\xff\xff\xff\xff");
}

static void what_is_too_large_for_int4_stays_at_its_end(void **state)
{
	(void)state;
	CHECK(INT4, INT64_C(5000000000), "\x7f\xff\xff\xff");
	CHECK(INT4, INT64_C(-5000000000), "\x80\0\0\0");
}

/* Counts of digits, weight, sign, scale; digits to the base of 10,000. */
static void numerics_are_digits_of_ten_thousand(void **state)
{
	(void)state;
	CHECK(NUMERIC, 0, "\0\0\0\0\0\0\0\0");
	CHECK(NUMERIC, 9999, "\0\1\0\0\0\0\0\0\x27\x0f");
	CHECK(NUMERIC, 10000, "\0\2\0\1\0\0\0\0\0\1\0\0");
	CHECK(NUMERIC, -12345, "\0\2\0\1\x40\0\0\0\0\1\x09\x29");
	CHECK(NUMERIC, INT64_MAX, "\0\5\0\4\0\0\0\0\3\x9a\x0d\x2c\x01\x70\x15\x65\x16\xaf");
	CHECK(NUMERIC, INT64_MIN, "\0\5\0\4\x40\0\0\0\3\x9a\x0d\x2c\x01\x70\x15\x65\x16\xb0");
}

static void ratios_have_four_digits_behind_the_point(void **state)
{
	(void)state;
#define CHECK_RATIO(part, whole, bytes) \
	assert_bytes(COLUMN_RATIO, cell_ratio(part, whole), bytes, sizeof(bytes) - 1)
	CHECK_RATIO(0, 7, "\0\0\0\0\0\0\0\4");
	CHECK_RATIO(1, 2, "\0\1\xff\xff\0\0\0\4\x13\x88");
	CHECK_RATIO(3, 2, "\0\2\0\0\0\0\0\4\0\1\x13\x88");
	CHECK_RATIO(20001, 1, "\0\3\0\1\0\0\0\4\0\2\0\1\0\0");
}

static void text_is_itself(void **state)
{
	(void)state;
	assert_bytes(COLUMN_TEXT, cell_text("abc"), "abc", 3);
	assert_bytes(COLUMN_TEXT, cell_number(12), "12", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_are_big_endian),
		cmocka_unit_test(what_is_too_large_for_int4_stays_at_its_end),
		cmocka_unit_test(numerics_are_digits_of_ten_thousand),
		cmocka_unit_test(ratios_have_four_digits_behind_the_point),
		cmocka_unit_test(text_is_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
