#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/out.h"
#include "proto/prepare.h"

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

/* A message whose bytes are in memory of just their size, so that a read past them is caught. */
static struct msg message(char type, const void *body, size_t have, size_t len)
{
	uint8_t *copy = malloc(have);

	if (have > 0)
		memcpy(copy, body, have);
	return (struct msg){type, (uint32_t)len, (uint32_t)have, copy};
}

static void drop(struct msg *m)
{
	free((void *)(uintptr_t)m->body);
}

struct head {
	char type;
	const char *body;
	size_t len;
	char kind;
	const char *portal, *statement;
	uint32_t size;
};

#define BODY(text) (text), sizeof(text) - 1

static const struct head HEADS[] = {
	{'P', BODY("stmt\0SELECT 1\0\0\0"), 0, "", "stmt", 5},
	{'P', BODY("\0SELECT 1\0\0\0"), 0, "", "", 1},
	{'B', BODY("port\0stmt\0\0\0\0\0\0\0"), 0, "port", "stmt", 10},
	{'B', BODY("\0\0\0\0\0\0\0\0"), 0, "", "", 2},
	{'B', BODY("\0s\0"), 0, "", "s", 3},
	{'D', BODY("Sstmt\0"), 'S', "", "stmt", 6},
	{'D', BODY("Pport\0"), 'P', "port", "", 6},
	{'D', BODY("S\0"), 'S', "", "", 2},
	{'C', BODY("Sstmt\0"), 'S', "", "stmt", 6},
	{'C', BODY("P\0"), 'P', "", "", 2},
	{'C', BODY("\0stmt\0"), 0, "stmt", "", 6},
	{'D', BODY("xstmt\0more"), 'x', "stmt", "", 6},
};

#define NHEADS (sizeof(HEADS) / sizeof(HEADS[0]))

static void names_are_read_from_each_kind_of_message(void **state)
{
	struct prepare_head h;

	(void)state;
	for (size_t i = 0; i < NHEADS; i++) {
		const struct head *t = &HEADS[i];
		struct msg m = message(t->type, t->body, t->len, t->len);

		assert_int_equal(prepare_read(&m, &h), PEEK_OK);
		assert_int_equal(h.kind, t->kind);
		assert_true(slice_is(h.portal, t->portal));
		assert_true(slice_is(h.statement, t->statement));
		assert_int_equal(h.size, t->size);
		drop(&m);
	}
}

static void names_that_are_not_all_here_ask_for_more(void **state)
{
	struct prepare_head h;

	(void)state;
	for (size_t i = 0; i < NHEADS; i++) {
		const struct head *t = &HEADS[i];

		for (size_t have = 0; have < t->len; have++) {
			struct msg m = message(t->type, t->body, have, t->len);

			assert_int_equal(prepare_read(&m, &h), have < t->size ? PEEK_SHORT : PEEK_OK);
			drop(&m);
		}
	}
}

static void names_without_an_end_are_bad(void **state)
{
	struct prepare_head h;

	(void)state;
	for (size_t i = 0; i < NHEADS; i++) {
		const struct head *t = &HEADS[i];

		for (size_t len = 0; len < t->size; len++) {
			struct msg m = message(t->type, t->body, len, len);

			assert_int_equal(prepare_read(&m, &h), PEEK_BAD);
			drop(&m);
		}
	}
}

static bool is_valid_parse(const char *rest, size_t n)
{
	struct msg m = message('P', rest, n, n);
	bool valid = prepare_is_valid_parse((struct slice){(const char *)m.body, n});

	drop(&m);
	return valid;
}

static void the_rest_of_a_parse_is_a_query_and_the_types_that_it_counts(void **state)
{
	const char none[] = "SELECT 1\0\0";
	const char two[] = "SELECT $1\0\0\2\0\0\0\x17\0\0\0\x19!";

	(void)state;
	assert_true(is_valid_parse("\0\0\0", 3));
	for (size_t n = 0; n <= sizeof(none); n++)
		assert_int_equal(is_valid_parse(none, n), n == 11);
	for (size_t n = 0; n < sizeof(two); n++)
		assert_int_equal(is_valid_parse(two, n), n == 20);
}

static void a_count_of_types_above_32767_is_taken_as_it_is(void **state)
{
	size_t n = 3 + 65535 * 4;
	char *rest = calloc(1, n + 4);

	(void)state;
	rest[1] = rest[2] = (char)0xff;
	assert_true(is_valid_parse(rest, n));
	assert_false(is_valid_parse(rest, n - 4));
	assert_false(is_valid_parse(rest, n + 4));
	free(rest);
}

/* The whole message with another name: what was written and the rest of the old body. */
static void rename_statement(char type, const char *body, size_t len, const char *name)
{
	struct msg m = message(type, body, len, len);
	struct prepare_head h;

	assert_int_equal(prepare_read(&m, &h), PEEK_OK);
	strbuf_reset(&b);
	prepare_out_head(&b, &m, &h, slice_of(name));
	strbuf_add(&b, m.body + h.size, m.len - h.size);
	drop(&m);
}

static void a_message_is_written_with_another_name(void **state)
{
	(void)state;
	rename_statement('P', BODY("a\0SELECT\0\0\0"), "long");
	assert_wrote("P\0\0\0\x12long\0SELECT\0\0\0");
	rename_statement('B', BODY("port\0statement\0\0\0\0\1\0\0\0\1x\0\0"), "s");
	assert_wrote("B\0\0\0\x16port\0s\0\0\0\0\1\0\0\0\1x\0\0");
	rename_statement('D', BODY("S\0"), "s");
	assert_wrote("D\0\0\0\7Ss\0");
	rename_statement('C', BODY("Sstatement\0more"), "");
	assert_wrote("C\0\0\0\012S\0more");
}

static void a_renamed_head_announces_bytes_that_are_not_here(void **state)
{
	struct msg m = message('B', "\0a\0", 3, 1000000);
	struct prepare_head h;

	(void)state;
	assert_int_equal(prepare_read(&m, &h), PEEK_OK);
	prepare_out_head(&b, &m, &h, SLICE_LIT("abc"));
	assert_wrote("B\0\x0f\x42\x46\0abc\0");
	drop(&m);
}

static void whole_messages_are_as_the_manual_says(void **state)
{
	(void)state;
	prepare_out_bind(&b, SLICE_LIT("p"), SLICE_LIT("s"));
	prepare_out_execute(&b, SLICE_LIT("p"));
	prepare_out_close(&b, 'S', SLICE_LIT("s"));
	prepare_out_describe(&b, 'P', SLICE_LIT("p"));
	assert_wrote("B\0\0\0\x0ep\0s\0\0\0\0\0\0\0"
		     "E\0\0\0\x0ap\0\0\0\0\0"
		     "C\0\0\0\7Ss\0"
		     "D\0\0\0\7Pp\0");
}

static void a_parse_head_announces_the_rest(void **state)
{
	(void)state;
	prepare_out_parse_head(&b, SLICE_LIT("stmt"), 9);
	strbuf_add(&b, "SELECT\0\0\0", 9);
	assert_wrote("P\0\0\0\x12stmt\0SELECT\0\0\0");
}

/* The body that an error gets, as text with | for NUL; "-" for none. */
static const char *changed(const char *body, size_t n, struct prepare_error change)
{
	struct msg m = message('E', body, n, n), out = {0};
	bool written;

	strbuf_reset(&b);
	written = prepare_out_error(&b, &m, &change);
	drop(&m);
	if (!written) {
		assert_int_equal(b.n, 0);
		return "-";
	}
	assert_false(b.failed);
	assert_int_equal(msg_peek((const uint8_t *)b.p, b.n, UINT32_MAX, &out), PEEK_OK);
	assert_int_equal(out.type, 'E');
	assert_int_equal(out.have, out.len);
	assert_int_equal(b.n, out.len + MSG_HEADER_SIZE);
	for (size_t i = 0; i < b.n; i++)
		b.p[i] = b.p[i] == '\0' ? '|' : b.p[i];
	return b.p + MSG_HEADER_SIZE;
}

static const struct prepare_error RENAME = {{"ps_1", 4}, {"mine", 4}, 0, 0};

#define assert_becomes(body, change, expected) assert_string_equal(changed(BODY(body "\0"), (change)), expected)

static void an_error_speaks_of_the_clients_name(void **state)
{
	(void)state;
	assert_becomes("SERROR\0VERROR\0C26000\0Mprepared statement \"ps_1\" does not exist\0Fprepare.c\0L451\0",
		       RENAME, "SERROR|VERROR|C26000|Mprepared statement \"mine\" does not exist|Fprepare.c|L451||");
	assert_becomes("Mps_1\0Dps_1, ps_1\0H(ps_1)\0Win ps_1\0", RENAME, "Mmine|Dmine, mine|H(mine)|Win mine||");
	assert_becomes("M\xc2\xabps_1\xc2\xbb\0", RENAME, "M\xc2\xabmine\xc2\xbb||");
}

static void a_name_may_become_longer_shorter_or_empty(void **state)
{
	struct prepare_error change = RENAME;

	(void)state;
	change.to = SLICE_LIT("a much longer one");
	assert_becomes("Ma ps_1 b\0", change, "Ma a much longer one b||");
	change.to = SLICE_LIT("");
	assert_becomes("Ma ps_1 b\0", change, "Ma  b||");
}

static void a_name_that_is_part_of_a_word_stays(void **state)
{
	(void)state;
	assert_becomes("Mps_10\0", RENAME, "-");
	assert_becomes("Mxps_1\0D_ps_1\0Hps_1_\0W9ps_1\0", RENAME, "-");
	assert_becomes("Mps_1\0Dps_10 ps_1 ps_1x\0", RENAME, "Mmine|Dps_10 mine ps_1x||");
}

static void fields_that_are_no_text_stay(void **state)
{
	(void)state;
	assert_becomes("Cps_1\0qps_1\0tps_1\0nps_1\0", RENAME, "-");
	assert_becomes("tps_1\0Mps_1\0sps_1\0", RENAME, "tps_1|Mmine|sps_1||");
}

static const char *moved(const char *position, uint32_t at, int32_t shift)
{
	struct prepare_error change = {{"", 0}, {"x", 1}, at, shift};
	char body[64];
	size_t n = (size_t)snprintf(body, sizeof(body), "Mx%cP%s", 0, position);

	memset(body + n, 0, 2);
	return changed(body, n + 2, change);
}

static void a_position_behind_the_name_moves(void **state)
{
	(void)state;
	assert_string_equal(moved("20", 9, 4), "Mx|P24||");
	assert_string_equal(moved("20", 9, -4), "Mx|P16||");
	assert_string_equal(moved("10", 9, 4), "Mx|P14||");
	assert_string_equal(moved("9", 9, 4), "-");
	assert_string_equal(moved("20", 9, 0), "-");
	assert_string_equal(moved("20", 9, -20), "Mx|P1||");
	assert_string_equal(moved("1", 0, -7), "-");
	assert_string_equal(moved("2147483647", 0, INT32_MAX), "Mx|P4294967294||");
}

static void a_position_that_makes_no_sense_stays(void **state)
{
	static const char *const NONE[] = {"", "-3", "0", "x", "12x", "2147483648", "9223372036854775807",
					   "99999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(NONE) / sizeof(NONE[0]); i++)
		assert_string_equal(moved(NONE[i], 0, 5), "-");
}

static void an_error_that_is_cut_or_goes_on_is_left_alone(void **state)
{
	const char body[] = "SERROR\0Mps_1\0P7\0";
	const struct prepare_error change = {{"ps_1", 4}, {"mine", 4}, 3, 2};

	(void)state;
	for (size_t n = 0; n < sizeof(body); n++) {
		struct msg m = message('E', body, n, sizeof(body));

		assert_string_equal(changed(body, n, change), "-");
		assert_false(prepare_out_error(&b, &m, &change));
		drop(&m);
	}
	assert_string_equal(changed(BODY("Mps_1\0\0x"), change), "-");
	assert_string_equal(changed(body, sizeof(body), change), "SERROR|Mmine|P9||");
}

static uint32_t seed;

static uint32_t roll(uint32_t sides)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 10) % sides;
}

static void play(char type, const char *body, size_t have, size_t len)
{
	struct msg m = message(type, body, have, len);
	struct prepare_error change = {{"ps", roll(3)}, {"mine", roll(5)}, roll(9), (int32_t)roll(9) - 4};
	struct prepare_head h;

	if (prepare_read(&m, &h) == PEEK_OK) {
		assert_true(h.size <= m.have);
		prepare_is_valid_parse((struct slice){(const char *)m.body + h.size, m.have - h.size});
	}
	strbuf_reset(&b);
	if (prepare_out_error(&b, &m, &change))
		assert_int_equal(m.have, m.len);
	else
		assert_int_equal(b.n, 0);
	drop(&m);
}

/* Of few different ones, so that all that is looked for occurs. */
static void random_bytes_are_survived(void **state)
{
	static const char BYTES[] = "\0\0\0\0MDPSps_109 \xff";
	static const char TYPES[] = "PBDCE";
	char body[48];

	(void)state;
	seed = (uint32_t)time(NULL);
	print_message("seed %u\n", (unsigned)seed);
	for (int i = 0; i < 50000; i++) {
		size_t len = roll(sizeof(body) + 1), have = roll(2) ? len : roll((uint32_t)len + 1);

		for (size_t k = 0; k < len; k++)
			body[k] = BYTES[roll(sizeof(BYTES) - 1)];
		play(TYPES[roll(sizeof(TYPES) - 1)], body, have, len);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read_from_each_kind_of_message),
		cmocka_unit_test(names_that_are_not_all_here_ask_for_more),
		cmocka_unit_test(names_without_an_end_are_bad),
		cmocka_unit_test(the_rest_of_a_parse_is_a_query_and_the_types_that_it_counts),
		cmocka_unit_test(a_count_of_types_above_32767_is_taken_as_it_is),
		TEST(a_message_is_written_with_another_name),
		TEST(a_renamed_head_announces_bytes_that_are_not_here),
		TEST(whole_messages_are_as_the_manual_says),
		TEST(a_parse_head_announces_the_rest),
		TEST(an_error_speaks_of_the_clients_name),
		TEST(a_name_may_become_longer_shorter_or_empty),
		TEST(a_name_that_is_part_of_a_word_stays),
		TEST(fields_that_are_no_text_stay),
		TEST(a_position_behind_the_name_moves),
		TEST(a_position_that_makes_no_sense_stays),
		TEST(an_error_that_is_cut_or_goes_on_is_left_alone),
		TEST(random_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
