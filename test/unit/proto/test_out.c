#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/msg.h"
#include "proto/out.h"

static struct strbuf b;

static int begin(void **state)
{
	(void)state;
	strbuf_init(&b);
	return 0;
}

static int end(void **state)
{
	(void)state;
	strbuf_fini(&b);
	return 0;
}

#define assert_wrote(bytes)                                       \
	do {                                                      \
		assert_false(b.failed);                           \
		assert_int_equal(b.n, sizeof(bytes) - 1);         \
		assert_memory_equal(b.p, bytes, sizeof(bytes) - 1); \
	} while (0)

static void the_length_counts_itself_but_not_the_type(void **state)
{
	size_t mark = out_begin(&b, 'x');

	(void)state;
	out_u8(&b, 1);
	out_u16(&b, 0x0203);
	out_u32(&b, 0x04050607);
	out_string(&b, "ab");
	out_slice_string(&b, (struct slice){"cde", 2});
	out_end(&b, mark);
	assert_wrote("x\0\0\0\x11\1\2\3\4\5\6\7ab\0cd\0");
}

static void a_startup_packet_has_no_type(void **state)
{
	size_t mark = out_begin(&b, 0);

	(void)state;
	out_u32(&b, 7);
	out_end(&b, mark);
	assert_wrote("\0\0\0\x08\0\0\0\7");
}

static void messages_may_follow_each_other(void **state)
{
	(void)state;
	out_simple(&b, 'S');
	out_ready_for_query(&b, 'I');
	out_query(&b, "SELECT");
	out_command_complete(&b, "SET");
	assert_wrote("S\0\0\0\4Z\0\0\0\5IQ\0\0\0\x0bSELECT\0C\0\0\0\x08SET\0");
}

static void login_messages_are_as_the_manual_says(void **state)
{
	(void)state;
	out_auth(&b, 3);
	out_password(&b, (struct slice){"pw!", 2});
	out_parameter_status(&b, SLICE_LIT("n"), SLICE_LIT(""));
	out_backend_key_data(&b, "\0\1\2\3\0\5\6\7", 8);
	assert_wrote("R\0\0\0\x08\0\0\0\3p\0\0\0\7pw\0S\0\0\0\7n\0\0K\0\0\0\x0c\0\1\2\3\0\5\6\7");
}

static void an_error_reads_back(void **state)
{
	const struct out_error e = {"ERROR", "57014", "too slow", NULL, "be quick"};
	struct error_fields f;
	struct msg m;

	(void)state;
	out_error_response(&b, 'E', &e);
	assert_int_equal(msg_peek((const uint8_t *)b.p, b.n, UINT32_MAX, &m), PEEK_OK);
	assert_int_equal(m.have, m.len);
	assert_int_equal(b.n, m.len + 5);
	assert_true(msg_error_fields(&m, &f));
	assert_true(slice_is(f.severity, "ERROR"));
	assert_true(slice_is(f.sqlstate, "57014"));
	assert_true(slice_is(f.message, "too slow"));
	assert_int_equal(f.detail.n, 0);
	assert_true(slice_is(f.hint, "be quick"));
}

static void a_table_is_described_and_filled(void **state)
{
	const struct out_column columns[] = {{"a", 25, -1, false}, {"b", 20, 8, true}};
	size_t mark;

	(void)state;
	out_row_description(&b, columns, 2);
	mark = out_row_begin(&b, 2);
	out_row_text(&b, SLICE_LIT("xy"));
	out_row_null(&b);
	out_end(&b, mark);
	assert_wrote("T\0\0\0\x2e\0\2"
		     "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
		     "b\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\1"
		     "D\0\0\0\x10\0\2\0\0\0\2xy\xff\xff\xff\xff");
}

static void a_message_that_does_not_fit_marks_the_buffer(void **state)
{
	char room[8];
	struct strbuf small;

	(void)state;
	for (size_t cap = 1; cap < 7; cap++) {
		memset(room, 'g', sizeof(room));
		strbuf_init_fixed(&small, room, cap);
		out_ready_for_query(&small, 'I');
		assert_true(small.failed);
		for (size_t i = cap; i < sizeof(room); i++)
			assert_int_equal(room[i], 'g');
	}
	strbuf_init_fixed(&small, room, 7);
	out_ready_for_query(&small, 'I');
	assert_false(small.failed);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_length_counts_itself_but_not_the_type),
		TEST(a_startup_packet_has_no_type),
		TEST(messages_may_follow_each_other),
		TEST(login_messages_are_as_the_manual_says),
		TEST(an_error_reads_back),
		TEST(a_table_is_described_and_filled),
		cmocka_unit_test(a_message_that_does_not_fit_marks_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
