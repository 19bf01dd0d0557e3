#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "proto/startup.h"

/* The packet in memory of just its size, so that a read past it is caught. */
static enum startup_kind parse(const void *p, size_t n, struct startup *s)
{
	uint8_t *copy = calloc(1, n);
	enum startup_kind kind;

	if (n > 0)
		memcpy(copy, p, n);
	kind = startup_parse(copy, n, s);
	free(copy);
	return kind;
}

#define MESSAGE "\0\0\0\x23\0\3\0\2user\0ann\0database\0shop\0x\0\0\0"

static void a_message_yields_its_parameters(void **state)
{
	struct slice name, value;
	struct cursor c;
	struct startup s;

	(void)state;
	assert_int_equal(startup_parse((const uint8_t *)MESSAGE, sizeof(MESSAGE) - 1, &s), STARTUP_MESSAGE);
	assert_int_equal(s.size, sizeof(MESSAGE) - 1);
	assert_int_equal(s.minor, 2);
	c = startup_params(&s);
	assert_true(startup_next_param(&c, &name, &value));
	assert_string_equal(name.p, "user");
	assert_string_equal(value.p, "ann");
	assert_true(startup_next_param(&c, &name, &value));
	assert_true(slice_is(name, "database"));
	assert_true(slice_is(value, "shop"));
	assert_true(startup_next_param(&c, &name, &value));
	assert_true(slice_is(name, "x"));
	assert_int_equal(value.n, 0);
	assert_false(startup_next_param(&c, &name, &value));
}

static void every_truncation_asks_for_more(void **state)
{
	struct startup s;

	(void)state;
	for (size_t n = 0; n < sizeof(MESSAGE) - 1; n++) {
		assert_int_equal(parse(MESSAGE, n, &s), STARTUP_SHORT);
		assert_int_equal(s.size, n < 4 ? 0 : sizeof(MESSAGE) - 1);
	}
}

static void bytes_behind_the_packet_are_left_alone(void **state)
{
	struct startup s;

	(void)state;
	assert_int_equal(parse("\0\0\0\x09\0\3\0\0\0p\0\0", 12, &s), STARTUP_MESSAGE);
	assert_int_equal(s.size, 9);
	assert_int_equal(parse("\0\0\0\x08\x04\xd2\x16\x2f\x16\x03", 10, &s), STARTUP_SSL_REQUEST);
	assert_int_equal(s.size, 8);
}

static void requests_are_told_apart(void **state)
{
	struct startup s;

	(void)state;
	assert_int_equal(parse("\0\0\0\x08\x04\xd2\x16\x2f", 8, &s), STARTUP_SSL_REQUEST);
	assert_int_equal(parse("\0\0\0\x08\x04\xd2\x16\x30", 8, &s), STARTUP_GSSENC_REQUEST);
	assert_int_equal(parse("\0\0\0\x08\x04\xd2\x16\x31", 8, &s), STARTUP_BAD);
	assert_int_equal(parse("\0\0\0\x09\x04\xd2\x16\x2f\0", 9, &s), STARTUP_BAD);
	assert_int_equal(parse("\0\0\0\x09\0\2\0\0\0", 9, &s), STARTUP_OLD_PROTOCOL);
	assert_int_equal(parse("\0\0\0\x09\0\4\0\1\0", 9, &s), STARTUP_BAD);
	assert_string_equal(s.error, "unsupported frontend protocol 4.1: server supports 3.0 to 3.2");
}

static void a_cancel_key_may_be_longer_than_protocol_3_0_has_it(void **state)
{
	uint8_t p[16 + 300] = {0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 'p', 'i', 'd', '!', 'k', 'e', 'y', '!'};
	struct startup s;

	(void)state;
	assert_int_equal(startup_parse(p, 16, &s), STARTUP_CANCEL);
	assert_true(slice_is(s.cancel_key, "pid!key!"));
	p[3] = 15;
	assert_int_equal(startup_parse(p, 15, &s), STARTUP_BAD);
	p[2] = 1, p[3] = 12;
	assert_int_equal(startup_parse(p, 268, &s), STARTUP_CANCEL);
	assert_int_equal(s.cancel_key.n, 260);
	p[3] = 13;
	assert_int_equal(startup_parse(p, 269, &s), STARTUP_BAD);
}

static void impossible_lengths_are_bad_at_once(void **state)
{
	struct startup s;

	(void)state;
	assert_int_equal(parse("\0\0\0\x07", 4, &s), STARTUP_BAD);
	assert_int_equal(parse("\0\x01\x18\x05", 4, &s), STARTUP_BAD);
	assert_int_equal(parse("\0\x01\x18\x04", 4, &s), STARTUP_SHORT);
	assert_int_equal(s.size, STARTUP_MAX_SIZE + 4);
	assert_int_equal(parse("GET / HTTP/1.1\r\n", 16, &s), STARTUP_BAD);
	assert_string_equal(s.error, "bad packet header: '474554202f204854'");
}

static void the_terminator_must_be_the_last_byte(void **state)
{
	static const struct {
		const char *body;
		size_t n;
	} bad[] = {
		{"", 0},               /* none */
		{"a\0b\0", 4},         /* none behind a pair */
		{"a\0b", 3},           /* a value without an end */
		{"a\0", 2},            /* a name without a value */
		{"a", 1},
		{"\0x", 2},            /* something behind */
		{"a\0b\0\0\0", 6},
	};
	struct startup s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t p[32] = {0, 0, 0, (uint8_t)(8 + bad[i].n), 0, 3, 0, 0};

		memcpy(p + 8, bad[i].body, bad[i].n);
		assert_int_equal(parse(p, 8 + bad[i].n, &s), STARTUP_BAD);
		assert_string_equal(s.error, "invalid startup packet layout: expected terminator as last byte");
	}
}

/* "name=value|..." of all settings, or what went wrong at the end of it. */
static void assert_options(const char *text, const char *expected)
{
	struct strbuf scratch, all;
	struct slice rest = slice_of(text), name, value;
	enum startup_option what;

	strbuf_init(&scratch);
	strbuf_init(&all);
	strbuf_add_str(&all, "");
	while ((what = startup_next_option(&rest, &scratch, &name, &value)) == STARTUP_OPTION_OK) {
		assert_int_equal(strlen(value.p), value.n);
		strbuf_addf(&all, "%s=%s|", name.p, value.p);
	}
	if (what == STARTUP_OPTION_BAD)
		strbuf_add_str(&all, "BAD");
	assert_string_equal(all.p, expected);
	strbuf_fini(&scratch);
	strbuf_fini(&all);
}

static void options_are_split_as_postgresql_does(void **state)
{
	(void)state;
	assert_options("", "");
	assert_options(" \t\n", "");
	assert_options("-c a=b", "a=b|");
	assert_options("-ca=b  -c\tc=d --e=f ", "a=b|c=d|e=f|");
	assert_options("--search-path=a,b --x-y-z=-1-", "search_path=a,b|x_y_z=-1-|");
	assert_options("-c a=", "a=|");
	assert_options("-c a=b=c", "a=b=c|");
	assert_options("-c a=b\\ c\\\\d\\e", "a=b c\\de|");
	assert_options("-c \\ =b", " =b|");
	assert_options("\\-c a=b", "a=b|");
	assert_options("-c a=b\\", "a=b|");
}

static void anything_else_in_options_is_refused(void **state)
{
	(void)state;
	assert_options("-c", "BAD");
	assert_options("-c ", "BAD");
	assert_options("-c a", "BAD");
	assert_options("-c =b", "BAD");
	assert_options("--", "BAD");
	assert_options("-- a=b", "BAD");
	assert_options("--a", "BAD");
	assert_options("--=", "BAD");
	assert_options("-", "BAD");
	assert_options("-B 5", "BAD");
	assert_options("a=b", "BAD");
	assert_options("-c a=b x", "a=b|BAD");
	assert_options("\\", "BAD");
}

static void our_own_packets_read_back(void **state)
{
	struct slice name, value;
	struct startup s;
	struct cursor c;
	struct strbuf b;
	size_t mark;

	(void)state;
	strbuf_init(&b);
	mark = startup_begin(&b);
	startup_add_param(&b, SLICE_LIT("user"), SLICE_LIT("ann"));
	startup_end(&b, mark);
	assert_int_equal(startup_parse((const uint8_t *)b.p, b.n, &s), STARTUP_MESSAGE);
	assert_int_equal(s.size, b.n);
	assert_int_equal(s.minor, 0);
	c = startup_params(&s);
	assert_true(startup_next_param(&c, &name, &value));
	assert_true(slice_is(value, "ann"));
	assert_false(startup_next_param(&c, &name, &value));

	strbuf_reset(&b);
	startup_out_cancel(&b, "\1\2\3\4\5\6\7\x08", 8);
	assert_int_equal(startup_parse((const uint8_t *)b.p, b.n, &s), STARTUP_CANCEL);
	assert_memory_equal(s.cancel_key.p, "\1\2\3\4\5\6\7\x08", 8);
	strbuf_fini(&b);
}

static void negotiation_names_what_is_not_known(void **state)
{
	const struct slice unknown[] = {SLICE_LIT("_pq_.a"), SLICE_LIT("_pq_.b")};
	const char expected[] = "v\0\0\0\x1a\0\3\0\2\0\0\0\2_pq_.a\0_pq_.b\0";
	struct strbuf b;

	(void)state;
	strbuf_init(&b);
	startup_out_negotiate(&b, 2, unknown, 2);
	assert_int_equal(b.n, sizeof(expected) - 1);
	assert_memory_equal(b.p, expected, b.n);
	strbuf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_yields_its_parameters),
		cmocka_unit_test(every_truncation_asks_for_more),
		cmocka_unit_test(bytes_behind_the_packet_are_left_alone),
		cmocka_unit_test(requests_are_told_apart),
		cmocka_unit_test(a_cancel_key_may_be_longer_than_protocol_3_0_has_it),
		cmocka_unit_test(impossible_lengths_are_bad_at_once),
		cmocka_unit_test(the_terminator_must_be_the_last_byte),
		cmocka_unit_test(options_are_split_as_postgresql_does),
		cmocka_unit_test(anything_else_in_options_is_refused),
		cmocka_unit_test(our_own_packets_read_back),
		cmocka_unit_test(negotiation_names_what_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
