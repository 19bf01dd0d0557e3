#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "net/dns_soa.h"

/* A message of 1 question for "db.Example.com" and the given records; counts: answers, authorities. */
#define HEADER(nanswers, nauthorities) "\x12\x34\x81\x80\0\1\0" nanswers "\0" nauthorities "\0\0"
#define QUESTION "\2db\7Example\3com\0\0\6\0\1"
/* Where in the message the question's names begin, for compression. */
#define DB "\xc0\x0c"
#define EXAMPLE "\xc0\x0f"
#define COM "\xc0\x17"
#define SOA(owner) owner "\0\6\0\1\0\0\0\x3c\0\x1b" "\2ns" EXAMPLE EXAMPLE "\1\2\3\4" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define CNAME(owner) owner "\0\5\0\1\0\0\0\x3c\0\2" COM
#define A(owner) owner "\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"

/* From memory of exactly that size, so that a byte read beyond it is seen. */
static bool parse_bytes(const void *p, size_t n, const char *asked, struct dns_soa *soa)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);
	bool ok;

	memcpy(copy, p, n);
	ok = dns_soa_parse(copy, n, asked, soa);
	free(copy);
	return ok;
}

#define PARSE(message, asked) parse_bytes(message, sizeof(message) - 1, asked, &soa)

static void the_record_of_a_name_in_the_zone_is_among_the_authorities(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_true(PARSE(HEADER("\0", "\1") QUESTION SOA(EXAMPLE), "db.example.com"));
	assert_string_equal(soa.zone, "example.com");
	assert_int_equal(soa.serial, 0x01020304);
}

static void the_record_of_the_zone_itself_is_among_the_answers(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_true(PARSE(HEADER("\1", "\0") QUESTION SOA(DB), "DB.example.com"));
	assert_string_equal(soa.zone, "db.example.com");
}

static void other_records_are_passed_over(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_true(PARSE(HEADER("\2", "\1") QUESTION A(DB) A(EXAMPLE) SOA(EXAMPLE), "db.example.com"));
	assert_string_equal(soa.zone, "example.com");
}

static void additional_records_do_not_count(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(HEADER("\1", "\0") QUESTION A(DB) SOA(EXAMPLE), "db.example.com"));
}

static void no_record_is_no_answer(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(HEADER("\0", "\0") QUESTION, "db.example.com"));
	assert_false(PARSE("", "db.example.com"));
}

static void an_alias_hides_the_names_own_zone(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(HEADER("\1", "\1") QUESTION CNAME(DB) SOA(EXAMPLE), "db.example.com"));
}

static void a_zone_that_the_name_is_not_in_is_refused(void **state)
{
	static const char message[] = HEADER("\0", "\1") QUESTION SOA(EXAMPLE);
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(message, "db.example.net"));
	assert_false(PARSE(message, "dbexample.com"));
	assert_false(PARSE(message, "com"));
	assert_false(PARSE(message, ""));
	assert_true(PARSE(message, "example.com"));
}

static void the_root_is_no_zone_to_watch(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(HEADER("\0", "\1") QUESTION SOA("\0"), "db.example.com"));
}

static void a_name_that_goes_in_circles_ends(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(HEADER("\0", "\1") "\xc0\x0c\0\6\0\1" SOA(EXAMPLE), "db.example.com"));
	assert_false(PARSE(HEADER("\0", "\1") "\1a\xc0\x0e\0\6\0\1" SOA(EXAMPLE), "db.example.com"));
}

static void a_message_cut_anywhere_is_refused(void **state)
{
	static const char message[] = HEADER("\1", "\1") QUESTION A(DB) SOA(EXAMPLE);
	struct dns_soa soa;

	(void)state;
	for (size_t n = 0; n < sizeof(message) - 1; n++)
		assert_false(parse_bytes(message, n, "db.example.com", &soa));
	assert_true(PARSE(message, "db.example.com"));
}

static void a_record_too_short_for_its_contents_is_refused(void **state)
{
	static const char message[] = HEADER("\0", "\1") QUESTION EXAMPLE "\0\6\0\1\0\0\0\x3c\0\x06" DB DB "\1\2\3\4";
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE(message, "db.example.com"));
}

static void counts_that_promise_more_than_there_is_are_refused(void **state)
{
	struct dns_soa soa;

	(void)state;
	assert_false(PARSE("\x12\x34\x81\x80\xff\xff\0\1\0\1\0\0" QUESTION SOA(EXAMPLE), "db.example.com"));
	assert_false(PARSE(HEADER("\2", "\0") QUESTION A(DB), "db.example.com"));
}

/* Nothing to assert but that the sanitizers have nothing to say. */
static void any_bytes_are_survived(void **state)
{
	static const char message[] = HEADER("\1", "\1") QUESTION A(DB) SOA(EXAMPLE);
	char changed[sizeof(message) - 1];
	struct dns_soa soa;

	(void)state;
	srand(1);
	for (size_t i = 0; i < sizeof(changed); i++) {
		for (int value = 0; value < 256; value++) {
			memcpy(changed, message, sizeof(changed));
			changed[i] = (char)value;
			parse_bytes(changed, sizeof(changed), "db.example.com", &soa);
		}
	}
	for (int round = 0; round < 20000; round++) {
		memcpy(changed, message, sizeof(changed));
		for (int k = 0; k < 4; k++)
			changed[(size_t)rand() % sizeof(changed)] = (char)rand();
		parse_bytes(changed, sizeof(changed), "db.example.com", &soa);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_record_of_a_name_in_the_zone_is_among_the_authorities),
		cmocka_unit_test(the_record_of_the_zone_itself_is_among_the_answers),
		cmocka_unit_test(other_records_are_passed_over),
		cmocka_unit_test(additional_records_do_not_count),
		cmocka_unit_test(no_record_is_no_answer),
		cmocka_unit_test(an_alias_hides_the_names_own_zone),
		cmocka_unit_test(a_zone_that_the_name_is_not_in_is_refused),
		cmocka_unit_test(the_root_is_no_zone_to_watch),
		cmocka_unit_test(a_name_that_goes_in_circles_ends),
		cmocka_unit_test(a_message_cut_anywhere_is_refused),
		cmocka_unit_test(a_record_too_short_for_its_contents_is_refused),
		cmocka_unit_test(counts_that_promise_more_than_there_is_are_refused),
		cmocka_unit_test(any_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
