#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "proto/msg.h"

static void header_split_across_reads_asks_for_more(void **state)
{
	const uint8_t query[] = "Q\0\0\0\x0dSELECT 1";  /* ends with the NUL */
	struct msg m;

	(void)state;
	for (size_t n = 0; n < 5; n++)
		assert_int_equal(msg_peek(query, n, UINT32_MAX, &m), PEEK_SHORT);
	for (size_t n = 5; n <= sizeof(query); n++) {
		assert_int_equal(msg_peek(query, n, UINT32_MAX, &m), PEEK_OK);
		assert_int_equal(m.type, 'Q');
		assert_int_equal(m.len, 9);
		assert_int_equal(m.have, n - 5);
		assert_ptr_equal(m.body, query + 5);
	}
}

static void bytes_of_the_next_message_do_not_count(void **state)
{
	const uint8_t two[] = "S\0\0\0\4X\0\0\0\4";
	struct msg m;

	(void)state;
	assert_int_equal(msg_peek(two, 10, 4, &m), PEEK_OK);
	assert_int_equal(m.len, 0);
	assert_int_equal(m.have, 0);
}

static void impossible_lengths_are_bad(void **state)
{
	uint8_t p[] = {'Q', 0, 0, 0, 0};
	struct msg m;

	(void)state;
	for (p[4] = 0; p[4] < 4; p[4]++)
		assert_int_equal(msg_peek(p, 5, UINT32_MAX, &m), PEEK_BAD);
	assert_int_equal(msg_peek(p, 5, UINT32_MAX, &m), PEEK_OK);
	p[4] = 101;
	assert_int_equal(msg_peek(p, 5, 100, &m), PEEK_BAD);
	assert_int_equal(msg_peek(p, 5, 101, &m), PEEK_OK);
	p[1] = 0xff;
	assert_int_equal(msg_peek(p, 5, INT32_MAX, &m), PEEK_BAD);
}

static void cursor_reads_in_network_order(void **state)
{
	const uint8_t p[] = {1, 2, 3, 0xff, 0xfe, 0xfd, 0xfc, 'a', 'b', 0, 'x'};
	struct cursor c = cursor_of(p, sizeof(p));

	(void)state;
	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_u16(&c), 0x0203);
	assert_int_equal(cursor_u32(&c), 0xfffefdfc);
	assert_true(slice_is(cursor_string(&c), "ab"));
	assert_int_equal(cursor_left(&c), 1);
	assert_true(slice_is(cursor_bytes(&c, 1), "x"));
	assert_true(slice_is(cursor_bytes(&c, 0), ""));
	assert_false(c.bad);
}

static void a_read_past_the_end_is_bad_for_good(void **state)
{
	const uint8_t p[] = {1, 2, 3};
	struct cursor c = cursor_of(p, 3);

	(void)state;
	assert_int_equal(cursor_u32(&c), 0);
	assert_true(c.bad);
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_left(&c), 0);
	c = cursor_of(p, 3);
	assert_int_equal(cursor_bytes(&c, SIZE_MAX).n, 0);
	assert_true(c.bad);
	c = cursor_of(p, 3);
	assert_int_equal(cursor_string(&c).n, 0);
	assert_true(c.bad);
	c = cursor_of(NULL, 0);
	assert_int_equal(cursor_string(&c).n, 0);
	assert_true(c.bad);
}

static struct msg error_msg(const char *body, size_t n)
{
	return (struct msg){'E', (uint32_t)n, (uint32_t)n, (const uint8_t *)body};
}

static void error_fields_are_found_in_any_order(void **state)
{
	const char body[] = "Mno\0C28P01\0SFATAL\0Xignored\0Hdo\0Dbecause\0Mother\0";
	struct msg m = error_msg(body, sizeof(body));
	struct error_fields f;

	(void)state;
	assert_true(msg_error_fields(&m, &f));
	assert_true(slice_is(f.severity, "FATAL"));
	assert_true(slice_is(f.sqlstate, "28P01"));
	assert_true(slice_is(f.message, "no"));
	assert_true(slice_is(f.detail, "because"));
	assert_true(slice_is(f.hint, "do"));
}

static void the_untranslated_severity_is_preferred(void **state)
{
	const char body[] = "SFATALFEHLER\0VFATAL\0Mx\0";
	struct msg m = error_msg(body, sizeof(body));
	struct error_fields f;

	(void)state;
	assert_true(msg_error_fields(&m, &f));
	assert_true(slice_is(f.severity, "FATAL"));
	assert_int_equal(f.hint.n, 0);
}

static void every_truncation_of_an_error_is_noticed(void **state)
{
	const char body[] = "SFATAL\0C28P01\0Mno\0";
	struct error_fields f;

	(void)state;
	for (size_t n = 0; n < sizeof(body); n++) {
		char *copy = malloc(n);
		struct msg m = error_msg(copy, n);

		if (n > 0)
			memcpy(copy, body, n);
		assert_false(msg_error_fields(&m, &f));
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_split_across_reads_asks_for_more),
		cmocka_unit_test(bytes_of_the_next_message_do_not_count),
		cmocka_unit_test(impossible_lengths_are_bad),
		cmocka_unit_test(cursor_reads_in_network_order),
		cmocka_unit_test(a_read_past_the_end_is_bad_for_good),
		cmocka_unit_test(error_fields_are_found_in_any_order),
		cmocka_unit_test(the_untranslated_severity_is_preferred),
		cmocka_unit_test(every_truncation_of_an_error_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
