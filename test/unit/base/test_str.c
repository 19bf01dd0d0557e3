#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"

static void letters_compare_without_case_and_nothing_else_does(void **state)
{
	(void)state;
	assert_true(slice_is_nocase(SLICE_LIT("OnLy"), "oNlY"));
	assert_false(slice_is_nocase(SLICE_LIT("only"), "onl"));
	assert_false(slice_is_nocase(SLICE_LIT("a@"), "a`"));
	assert_false(slice_is_nocase(SLICE_LIT("\xc4"), "\xe4"));
}

static void trim_takes_blanks_at_both_ends_only(void **state)
{
	(void)state;
	assert_true(slice_is(slice_trim(SLICE_LIT(" \t a b\r\n")), "a b"));
	assert_true(slice_is(slice_trim(SLICE_LIT("  ")), ""));
}

static size_t pieces(const char *text, const char *const *expected)
{
	struct slice rest = slice_of(text), piece;
	size_t n = 0;

	while (slice_split(&rest, ',', &piece))
		assert_true(slice_is(piece, expected[n++]));
	return n;
}

static void split_gives_every_piece_trimmed(void **state)
{
	(void)state;
	assert_int_equal(pieces("a, b ,c", (const char *const[]){"a", "b", "c"}), 3);
}

static void split_gives_empty_pieces_too_but_none_of_an_empty_text(void **state)
{
	(void)state;
	assert_int_equal(pieces(",a,", (const char *const[]){"", "a", ""}), 3);
	assert_int_equal(pieces("", NULL), 0);
}

static void split_survives_a_slice_that_is_null(void **state)
{
	struct slice rest = {NULL, 0}, piece;

	(void)state;
	assert_false(slice_split(&rest, ',', &piece));
}

static void numbers_read_up_to_both_ends_of_their_range(void **state)
{
	int64_t v;

	(void)state;
	assert_true(slice_to_int64(SLICE_LIT("9223372036854775807"), &v) && v == INT64_MAX);
	assert_true(slice_to_int64(SLICE_LIT("-9223372036854775808"), &v) && v == INT64_MIN);
	assert_true(slice_to_int64(SLICE_LIT("+12"), &v) && v == 12);
	assert_false(slice_to_int64(SLICE_LIT("9223372036854775808"), &v));
	assert_false(slice_to_int64(SLICE_LIT("-9223372036854775809"), &v));
}

static void numbers_with_anything_else_are_none(void **state)
{
	static const char *const wrong[] = {"", "-", "+", "20x", " 1", "1 ", "0x10", "1.5", "--1"};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(slice_to_int64(slice_of(wrong[i]), &v));
}

static void a_fixed_buffer_takes_a_write_whole_or_not_at_all(void **state)
{
	char memory[5];
	struct strbuf b;

	(void)state;
	strbuf_init_fixed(&b, memory, sizeof(memory));
	strbuf_add_str(&b, "ab");
	strbuf_addf(&b, "%d", 345);
	assert_true(b.failed);
	assert_string_equal(b.p, "ab");
	strbuf_add_char(&b, 'c');
	assert_string_equal(b.p, "ab");
	strbuf_reset(&b);
	strbuf_add_str(&b, "abcd");
	assert_false(b.failed);
	assert_string_equal(b.p, "abcd");
}

static void a_heap_buffer_grows_and_stays_ended(void **state)
{
	struct strbuf b;

	(void)state;
	strbuf_init(&b);
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%04d", i);
	assert_false(b.failed);
	assert_int_equal(b.n, 4000);
	assert_int_equal(strlen(b.p), 4000);
	assert_memory_equal(b.p + 3996, "0999", 4);
	strbuf_fini(&b);
}

static void an_empty_write_makes_an_empty_text(void **state)
{
	struct strbuf b;

	(void)state;
	strbuf_init(&b);
	strbuf_add_str(&b, "");
	assert_string_equal(b.p, "");
	strbuf_fini(&b);
}

static void reserved_room_counts_when_the_caller_says_so(void **state)
{
	struct strbuf b;
	char *room;

	(void)state;
	strbuf_init(&b);
	strbuf_add_str(&b, "x");
	room = strbuf_reserve(&b, 3);
	memcpy(room, "yz", 2);
	assert_int_equal(b.n, 1);
	b.n += 2;
	strbuf_add_char(&b, '!');
	assert_string_equal(b.p, "xyz!");
	strbuf_fini(&b);
}

static void an_impossible_reservation_fails_and_keeps_the_text(void **state)
{
	struct strbuf b;

	(void)state;
	strbuf_init(&b);
	strbuf_add_str(&b, "kept");
	assert_null(strbuf_reserve(&b, SIZE_MAX - 2));
	assert_true(b.failed);
	assert_string_equal(b.p, "kept");
	strbuf_fini(&b);
}

static void numbers_are_written_as_printf_writes_them(void **state)
{
	static const int64_t numbers[] = {0, 7, -7, 10, 1234567890, INT32_MIN, INT64_MAX, INT64_MIN};
	struct strbuf b, printed;

	(void)state;
	strbuf_init(&b);
	strbuf_init(&printed);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		strbuf_add_int(&b, numbers[i]);
		strbuf_add_char(&b, ' ');
		strbuf_add_hex(&b, (uint64_t)numbers[i]);
		strbuf_addf(&printed, "%lld %llx", (long long)numbers[i], (unsigned long long)numbers[i]);
	}
	assert_string_equal(b.p, printed.p);
	strbuf_fini(&printed);
	strbuf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters_compare_without_case_and_nothing_else_does),
		cmocka_unit_test(trim_takes_blanks_at_both_ends_only),
		cmocka_unit_test(split_gives_every_piece_trimmed),
		cmocka_unit_test(split_gives_empty_pieces_too_but_none_of_an_empty_text),
		cmocka_unit_test(split_survives_a_slice_that_is_null),
		cmocka_unit_test(numbers_read_up_to_both_ends_of_their_range),
		cmocka_unit_test(numbers_with_anything_else_are_none),
		cmocka_unit_test(a_fixed_buffer_takes_a_write_whole_or_not_at_all),
		cmocka_unit_test(a_heap_buffer_grows_and_stays_ended),
		cmocka_unit_test(an_empty_write_makes_an_empty_text),
		cmocka_unit_test(reserved_room_counts_when_the_caller_says_so),
		cmocka_unit_test(an_impossible_reservation_fails_and_keeps_the_text),
		cmocka_unit_test(numbers_are_written_as_printf_writes_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
